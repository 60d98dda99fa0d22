//! Looking into images: their size, told from the header alone, and their previews.

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, ImageResult, Limits,
};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::domain::files::MAX_PIXELS;
use crate::domain::media_type::Image;
use crate::error::{Error, Result};

/// Most pixels across and down of a preview.
const THUMBNAIL: u32 = 320;

/// Images that are held in memory as they were sent, a file's limit each.
const SLOTS: usize = 4;

/// MiB that all images being decoded at once may take; what one alone would need more is not
/// decoded.
const MEMORY: u32 = 256;

/// MiB that every decoding counts for at least, so that at most [`SLOTS`] run.
const LEAST: u32 = MEMORY / 4;

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
    slots: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

impl Images {
    pub fn new() -> Self {
        let memory = Semaphore::new(MEMORY as usize);
        Self { slots: Arc::new(Semaphore::new(SLOTS)), memory: Arc::new(memory) }
    }

    /// Looks into the image that `read` brings; `None` if it is none, for all that its first bytes
    /// say.
    ///
    /// # Errors
    /// `image_too_large` over [`MAX_PIXELS`], before anything is decoded; or what `read` fails with.
    pub async fn examine(
        &self,
        kind: Image,
        read: impl Future<Output = Result<Bytes>>,
    ) -> Result<Option<Examined>> {
        // Neither semaphore is ever closed.
        let _slot = self.slots.acquire().await.map_err(Error::internal)?;
        let bytes = read.await?;
        let header = bytes.clone();
        let Some(header) = blocking(move || Header::read(kind, &header)).await else {
            return Ok(None);
        };
        if header.pixels() > MAX_PIXELS {
            let detail = format!("an image may have {MAX_PIXELS} pixels at most");
            return Err(Error::invalid("image_too_large", detail));
        }
        let need = self.memory.acquire_many(header.memory(kind)).await;
        let _memory = need.map_err(Error::internal)?;
        let thumbnail = blocking(move || thumbnail(kind, &bytes)).await;
        Ok(Some(Examined { dimensions: header.dimensions, thumbnail }))
    }
}

/// Runs `work` where it may take its time; a decoder that fails or panics has found no image.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> ImageResult<T> + Send + 'static,
) -> Option<T> {
    spawn_blocking(work).await.ok()?.ok()
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
        let mut decoder = match decoder(kind, bytes) {
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

    /// MiB to decode it: a progressive JPEG holds all its coefficients besides.
    fn memory(self, kind: Image) -> u32 {
        let factor = if kind == Image::Jpeg { 3 } else { 1 };
        let need = self.decoded.saturating_mul(factor).div_ceil(MIB);
        u32::try_from(need).unwrap_or(MEMORY).clamp(LEAST, MEMORY)
    }
}

fn decoder(kind: Image, bytes: &[u8]) -> ImageResult<impl ImageDecoder + '_> {
    let format = match kind {
        Image::Png => ImageFormat::Png,
        Image::Jpeg => ImageFormat::Jpeg,
        Image::Gif => ImageFormat::Gif,
        Image::WebP => ImageFormat::WebP,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits());
    reader.into_decoder()
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(u64::from(MEMORY) * MIB);
    limits
}

/// The first picture of an image, made to fit [`THUMBNAIL`]; never enlarged.
fn thumbnail(kind: Image, bytes: &[u8]) -> ImageResult<Thumbnail> {
    let mut decoder = decoder(kind, bytes)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    limits().reserve(decoder.total_bytes())?;
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
