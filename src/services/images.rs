//! Looking into images: their size, told from the header alone, and their previews.

mod metered;
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

use self::metered::Metered;
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

/// MiB for code tables and buffers, whose size an image's header does not tell.
const TABLES: u32 = 32;

/// Images that wait or are looked into, and those of them that are of one account. Further ones
/// of an account wait for its own.
const QUEUE: u32 = 64;
const QUEUE_EACH: u32 = 2;

/// How long an image waits before its upload is refused.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

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
            let detail = format!("image too large; it may have at most {MAX_PIXELS} pixels");
            return Err(Error::invalid("image_too_large", detail));
        }
        drop(memory);
        let need = header.memory(&plain);
        let mut thumbnail = None;
        if need <= MEMORY {
            let memory = self.memory(need).await?;
            let work = move || self::thumbnail(kind, &plain.bytes, need).ok();
            thumbnail = blocking((turn, memory), work).await?.2;
        }
        Ok(Some(Examined { dimensions: header.dimensions, thumbnail }))
    }

    /// Waits until it is the uploader's turn.
    async fn turn(&self, uploader: UserId) -> Result<Turn> {
        let turn = async {
            let place = self.queue.acquire(uploader, 1, QUEUE_TIMEOUT).await?;
            let slot = self.slots.clone().acquire_owned().await.ok()?;
            Some(Turn { _slot: slot, _place: place })
        };
        let turn = timeout(QUEUE_TIMEOUT, turn).await.ok().flatten();
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
        let mut decoder = match decoder(kind, bytes, LEAST) {
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
        u32::try_from(need).unwrap_or(u32::MAX).saturating_add(TABLES).max(LEAST)
    }
}

/// A decoder that fails before it takes more than `granted` MiB.
fn decoder(kind: Image, bytes: &[u8], granted: u32) -> ImageResult<impl ImageDecoder + '_> {
    let format = match kind {
        Image::Png => ImageFormat::Png,
        Image::Jpeg => ImageFormat::Jpeg,
        Image::Gif => ImageFormat::Gif,
        Image::WebP => ImageFormat::WebP,
    };
    let granted = u64::from(granted) * MIB;
    let mut reader = ImageReader::with_format(Metered::new(bytes, granted)?, format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(granted);
    reader.limits(limits);
    reader.into_decoder()
}

/// The first picture of an image, made to fit [`THUMBNAIL`]; never enlarged.
fn thumbnail(kind: Image, bytes: &[u8], granted: u32) -> ImageResult<Thumbnail> {
    let mut decoder = decoder(kind, bytes, granted)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures of more pixels are only looked into, so that an input takes milliseconds.
    const MAX_DECODED: u64 = 1 << 20;

    /// A PNG whose chunks have the checksums of what is in them, so that decoders look further.
    fn with_checksums(mut png: Vec<u8>) -> Vec<u8> {
        let mut at = 8;
        while let Some(length) = png.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
            let end = at + 8 + u32::from_be_bytes(*length) as usize;
            if end + 4 > png.len() {
                break;
            }
            let mut crc = flate2::Crc::new();
            crc.update(&png[at + 4..end]);
            png[end..end + 4].copy_from_slice(&crc.sum().to_be_bytes());
            at = end + 4;
        }
        png
    }

    /// Writes numbers of so many bits, the lowest first (RFC 9649, 3.1).
    #[derive(Default)]
    struct Bits {
        bytes: Vec<u8>,
        count: usize,
    }

    impl Bits {
        fn put(&mut self, number: u32, bits: usize) {
            for bit in 0..bits {
                if self.count.is_multiple_of(8) {
                    self.bytes.push(0);
                }
                let value = u8::from(number >> bit & 1 == 1);
                *self.bytes.last_mut().unwrap() |= value << (self.count % 8);
                self.count += 1;
            }
        }

        /// A prefix code of one symbol, which takes no bits in the picture.
        fn single(&mut self, symbol: u8) {
            self.put(0b101, 3);
            self.put(symbol.into(), 8);
        }

        /// A prefix code of 2048 symbols of 11 bits: 64 KiB of nodes in 130 bytes.
        fn large(&mut self) {
            // Code lengths: 18 and 11 have codes of two bits, 16 of one. All others have none.
            self.put(0, 1);
            self.put(14, 4);
            for symbol in [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14] {
                self.put(
                    if symbol == 16 { 1 } else { 2 * u32::from(matches!(symbol, 11 | 18)) },
                    3,
                );
            }
            self.put(0, 1);
            let (eleven, again, zeros) = ((0b01, 2), (0, 1), (0b11, 2));
            self.put(eleven.0, eleven.1);
            for _ in 0..341 {
                self.put(again.0, again.1);
                self.put(3, 2);
            }
            self.put(eleven.0, eleven.1);
            for count in [138, 131, 11] {
                self.put(zeros.0, zeros.1);
                self.put(count - 11, 7);
            }
        }
    }

    /// A lossless WebP of 4 times 4 pixels with so many groups of prefix codes.
    fn webp_of_groups(groups: u16) -> Vec<u8> {
        let mut bits = Bits::default();
        bits.put(0x2f, 8);
        bits.put(3, 14);
        bits.put(3, 14);
        bits.put(0, 4);
        // No transform, a colour cache of 11 bits, and groups by blocks of 4 pixels.
        bits.put(0, 1);
        bits.put(1 | 11 << 1, 5);
        bits.put(1, 1);
        bits.put(0, 3);
        // The one block is of the last group: its number in green and red.
        bits.put(0, 1);
        let [high, low] = (groups - 1).to_be_bytes();
        for symbol in [low, high, 0, 0] {
            bits.single(symbol);
        }
        bits.single(0);
        for _ in 0..groups {
            bits.large();
            for _ in 0..4 {
                bits.single(0);
            }
        }
        // The picture: 16 symbols.
        for _ in 0..16 {
            bits.put(0, 11);
        }
        let (chunk, padding) = (bits.bytes, [0]);
        let size = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
        let padding = &padding[..chunk.len() % 2];
        let riff = size(12 + chunk.len() + padding.len());
        [b"RIFF", &riff[..], b"WEBPVP8L", &size(chunk.len()), &chunk, padding].concat()
    }

    fn examined(kind: Image, bytes: Vec<u8>) -> (u32, ImageResult<Thumbnail>) {
        let plain = plain(kind, &bytes.into()).expect("an image");
        let header = Header::read(kind, &plain.bytes).expect("a header");
        let need = header.memory(&plain);
        assert!(need <= MEMORY, "{need} MiB");
        (need, thumbnail(kind, &plain.bytes, need))
    }

    #[test]
    fn tables_that_a_few_bytes_describe_take_no_more_than_was_granted() {
        let (_, few) = examined(Image::WebP, webp_of_groups(100));
        few.expect("a picture");
        let taken = tikv_jemalloc_ctl::thread::allocatedp::read().expect("a counter");
        let before = taken.get();
        let bytes = webp_of_groups(20_000);
        assert!(bytes.len() < 4 << 20);
        let built = taken.get();
        let (need, many) = examined(Image::WebP, bytes);
        assert!(many.unwrap_err().to_string().contains("more memory"));
        // Some is freed in between: buffers for code lengths.
        let allocated = (taken.get() - built) / MIB;
        assert!(allocated < u64::from(2 * need), "{allocated} MiB, {} for itself", built - before);
    }

    #[test]
    fn the_largest_pictures_of_each_kind_have_previews() {
        let (width, height) = (8000, 5000);
        let pattern: Vec<u8> = (0..=250).collect();
        let mut pixels = pattern.repeat(4 * 40_000_000 / 251 + 1);
        pixels.truncate(4 * 40_000_000);
        let picture = image::RgbaImage::from_raw(width, height, pixels).expect("all its pixels");
        let picture = DynamicImage::from(picture);
        for (kind, format) in [
            (Image::Png, ImageFormat::Png),
            (Image::Jpeg, ImageFormat::Jpeg),
            (Image::WebP, ImageFormat::WebP),
        ] {
            let mut bytes = Cursor::new(Vec::new());
            let encoded = match kind {
                Image::Jpeg => picture.to_rgb8().write_to(&mut bytes, format),
                _ => picture.write_to(&mut bytes, format),
            };
            encoded.expect("encoded");
            let (_, thumbnail) = examined(kind, bytes.into_inner());
            thumbnail.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        }
    }

    /// The header and the preview of an image are bounded, of any bytes that it consists of.
    #[test]
    fn fuzz_images() {
        let words = [
            "IHDR",
            "IDAT",
            "eXIf",
            "iCCP",
            "IEND",
            "\0\0\0\x0d",
            "\x01\0\0\0",
            "\x7f\x7f\x7f\x7f",
            "Exif\0\0II*\0",
            "MM\0*",
            "GIF89a",
            "!",
            ",",
            "RIFF",
            "WEBP",
            "VP8 ",
            "VP8L/",
            "VP8X",
            "ALPH",
            "ANIM",
            "ANMF",
        ];
        crate::fuzzing::fuzz("images", &words, |input| {
            let bytes = Bytes::from(with_checksums(input.to_vec()));
            for kind in [Image::Png, Image::Jpeg, Image::Gif, Image::WebP] {
                let Some(plain) = plain(kind, &bytes) else { continue };
                assert!(plain.bytes.len() <= bytes.len() + 2);
                let Ok(header) = Header::read(kind, &plain.bytes) else { continue };
                let need = header.memory(&plain);
                if header.pixels() <= MAX_DECODED && need <= MEMORY {
                    let _ = thumbnail(kind, &plain.bytes, need);
                }
            }
        });
    }
}
