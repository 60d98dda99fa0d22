//! Looking into images: their size, told from the header alone, and their previews.

mod plain;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::plain::{Plain, plain};
use super::budget::{Budget, Share};
use crate::domain::files::MAX_PIXELS;
use crate::domain::ids::UserId;
use crate::domain::media_type::Image;
use crate::error::{Error, Result};

/// Most pixels across and down of a preview.
const THUMBNAIL: u32 = 320;

/// Images that are held in memory as they were sent, a file's limit each.
const SLOTS: usize = 4;

/// MiB that all images being decoded at once may take; what one alone would need more is not
/// decoded. A progressive JPEG of [`MAX_PIXELS`] fits.
const MEMORY: u32 = 384;

/// MiB that every decoding counts for at least, and the reading of a header.
const LEAST: u32 = MEMORY / 4;

/// Images that wait or are looked into, and those of them that are of one account. Further ones
/// of an account wait for its own.
const QUEUE: u32 = 64;
const QUEUE_EACH: u32 = 2;

/// How long an image waits before its upload is refused.
const PATIENCE: Duration = Duration::from_secs(10);

const MIB: u64 = 1024 * 1024;

/// An image that was looked into.
#[derive(Debug)]
pub(super) struct Examined {
    /// Pixels across and down, as it is shown.
    pub dimensions: (u32, u32),
    /// Its preview; `None` where only the header could be read.
    pub thumbnail: Option<Thumbnail>,
}

/// A small picture: without metadata, turned as it is to be shown.
#[derive(Debug)]
pub(super) struct Thumbnail {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

/// Decodes images, within a bound of memory and threads for the whole instance.
#[derive(Debug, Clone)]
pub(super) struct Images {
    queue: Arc<Budget<UserId>>,
    slots: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

impl Images {
    pub fn new() -> Self {
        let memory = Semaphore::new(MEMORY as usize);
        Self {
            queue: Budget::new(QUEUE, QUEUE_EACH),
            slots: Arc::new(Semaphore::new(SLOTS)),
            memory: Arc::new(memory),
        }
    }

    /// Looks into the image that `read` brings; `None` if it is none, for all that its first bytes
    /// say.
    ///
    /// # Errors
    /// `image_too_large` over [`MAX_PIXELS`], before anything is decoded; `unavailable` where too
    /// many images wait; or what `read` fails with.
    pub async fn examine(
        &self,
        kind: Image,
        uploader: UserId,
        read: impl Future<Output = Result<Bytes>>,
    ) -> Result<Option<Examined>> {
        let turn = self.turn(uploader).await?;
        let bytes = read.await?;
        let memory = self.memory(LEAST).await?;
        let (turn, memory, read) = blocking((turn, memory), move || {
            let plain = plain(kind, &bytes)?;
            Some((Header::read(kind, &plain.bytes).ok()?, plain))
        })
        .await?;
        let Some((header, plain)) = read else { return Ok(None) };
        if header.pixels() > MAX_PIXELS {
            let detail = format!("an image may have {MAX_PIXELS} pixels at most");
            return Err(Error::invalid("image_too_large", detail));
        }
        drop(memory);
        let need = header.memory(&plain);
        let mut thumbnail = None;
        if need <= MEMORY {
            let memory = self.memory(need).await?;
            let limits = limits(need);
            let work = move || self::thumbnail(kind, &plain.bytes, limits).ok();
            thumbnail = blocking((turn, memory), work).await?.2;
        }
        Ok(Some(Examined { dimensions: header.dimensions, thumbnail }))
    }

    /// Waits until it is the uploader's turn.
    async fn turn(&self, uploader: UserId) -> Result<Turn> {
        let turn = async {
            let place = self.queue.acquire(uploader, 1, PATIENCE).await?;
            let slot = self.slots.clone().acquire_owned().await.ok()?;
            Some(Turn { _slot: slot, _place: place })
        };
        let turn = timeout(PATIENCE, turn).await.ok().flatten();
        turn.ok_or_else(|| Error::unavailable().with_source("too many images wait"))
    }

    async fn memory(&self, mebibytes: u32) -> Result<OwnedSemaphorePermit> {
        self.memory.clone().acquire_many_owned(mebibytes).await.map_err(Error::internal)
    }
}

/// A place in the queue, and a slot.
#[derive(Debug)]
struct Turn {
    _slot: OwnedSemaphorePermit,
    _place: Share<UserId>,
}

/// Runs `work` where it may take its time; a decoder that fails or panics has found no image. What
/// the work was granted is kept until its end, even where nobody waits for it any more.
async fn blocking<T: Send + 'static>(
    granted: (Turn, OwnedSemaphorePermit),
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Result<(Turn, OwnedSemaphorePermit, Option<T>)> {
    let done = spawn_blocking(move || {
        let outcome = catch_unwind(AssertUnwindSafe(work)).ok().flatten();
        (granted.0, granted.1, outcome)
    });
    done.await.map_err(Error::internal)
}

/// What the first bytes of an image say of the rest.
#[derive(Debug, Clone, Copy)]
struct Header {
    /// Pixels across and down, as it is shown.
    dimensions: (u32, u32),
    /// Bytes that it decodes to.
    decoded: u64,
}

impl Header {
    fn read(kind: Image, bytes: &[u8]) -> ImageResult<Self> {
        let mut decoder = match decoder(kind, bytes, limits(LEAST)) {
            // Too large for the decoder itself.
            Err(ImageError::Limits(_)) => {
                return Ok(Self { dimensions: (u32::MAX, u32::MAX), decoded: u64::MAX });
            }
            decoder => decoder?,
        };
        let (width, height) = decoder.dimensions();
        let turned = matches!(
            decoder.orientation().unwrap_or(Orientation::NoTransforms),
            Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH
        );
        let dimensions = if turned { (height, width) } else { (width, height) };
        Ok(Self { dimensions, decoded: decoder.total_bytes() })
    }

    fn pixels(self) -> u64 {
        u64::from(self.dimensions.0) * u64::from(self.dimensions.1)
    }

    /// MiB to decode it.
    fn memory(self, plain: &Plain) -> u32 {
        let working = self.pixels().saturating_mul(plain.working);
        let need = self.decoded.saturating_add(working).div_ceil(MIB);
        u32::try_from(need).unwrap_or(u32::MAX).max(LEAST)
    }
}

fn decoder(kind: Image, bytes: &[u8], limits: Limits) -> ImageResult<impl ImageDecoder + '_> {
    let format = match kind {
        Image::Png => ImageFormat::Png,
        Image::Jpeg => ImageFormat::Jpeg,
        Image::Gif => ImageFormat::Gif,
        Image::WebP => ImageFormat::WebP,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    reader.into_decoder()
}

fn limits(mebibytes: u32) -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(u64::from(mebibytes) * MIB);
    limits
}

/// The first picture of an image, made to fit [`THUMBNAIL`]; never enlarged.
fn thumbnail(kind: Image, bytes: &[u8], limits: Limits) -> ImageResult<Thumbnail> {
    let mut decoder = decoder(kind, bytes, limits)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let mut image = DynamicImage::from_decoder(decoder)?;
    if image.width().max(image.height()) > THUMBNAIL {
        image = image.thumbnail(THUMBNAIL, THUMBNAIL);
    }
    image.apply_orientation(orientation);
    encode(&image)
}

/// JPEG, or PNG where something shines through.
fn encode(image: &DynamicImage) -> ImageResult<Thumbnail> {
    let mut bytes = Vec::new();
    let see_through =
        image.color().has_alpha() && image.to_rgba8().pixels().any(|pixel| pixel[3] < u8::MAX);
    let content_type = if see_through {
        let png = DynamicImage::ImageRgba8(image.to_rgba8());
        png.write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)?;
        "image/png"
    } else {
        JpegEncoder::new_with_quality(&mut bytes, 80).encode_image(&image.to_rgb8())?;
        "image/jpeg"
    };
    Ok(Thumbnail { content_type, bytes })
}
