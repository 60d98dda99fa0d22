//! Images without what could make a decoder do more work, or take more memory, than their pixels
//! need. Everything here reads lengths and copies bytes; nothing is decoded.
//!
//! Left out are all chunks and segments that hold no pixels but the orientation: profiles, texts
//! and the like may inflate to a thousand times their size. Also left out is what comes after the
//! first picture of an animation, and after [`MAX_SCANS`] scans of a JPEG.

use bytes::Bytes;

use crate::domain::media_type::Image;

/// Scans of a progressive JPEG that are decoded: each passes over the whole picture again, and
/// encoders make ten or so. With fewer the picture is only less sharp.
const MAX_SCANS: usize = 20;

/// The most of an Exif block that is kept, for the orientation in it.
const MAX_EXIF: usize = 64 << 10;

/// An image to be decoded.
#[derive(Debug, Clone)]
pub(super) struct Plain {
    pub bytes: Bytes,
    /// Bytes for each pixel that its decoder needs beside the picture itself.
    pub working: u64,
}

/// The part of an image that is to be decoded; `None` if its headers contradict each other.
pub(super) fn plain(kind: Image, bytes: &Bytes) -> Option<Plain> {
    match kind {
        Image::Png => Some(Plain { bytes: png(bytes)?.into(), working: 1 }),
        Image::Jpeg => jpeg(bytes),
        // The first picture, if it is not laid out as the canvas is.
        Image::Gif => Some(Plain { bytes: bytes.clone(), working: 5 }),
        Image::WebP => Some(Plain { working: webp(bytes)?, bytes: bytes.clone() }),
    }
}

/// The chunks of a PNG that make the picture (PNG 3rd edition, 11.2 and 11.3).
fn png(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n")?;
    let mut kept = bytes[..8].to_vec();
    while let Some((head, _)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, name @ ..] = *head;
        let data = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?;
        let length = data.saturating_add(12).min(rest.len());
        let (chunk, later) = rest.split_at(length);
        match &name {
            b"IHDR" | b"PLTE" | b"tRNS" | b"IDAT" | b"IEND" => kept.extend_from_slice(chunk),
            b"eXIf" if data <= MAX_EXIF => kept.extend_from_slice(chunk),
            _ => {}
        }
        rest = later;
    }
    Some(kept)
}

/// The frame header of a JPEG, as far as it tells of memory.
struct Frame {
    /// Whether a scan holds only a part of what a pixel needs, so that all is kept until the end.
    is_progressive: bool,
    /// Of each component, samples across and down.
    samples: Vec<(u64, u64)>,
}

impl Frame {
    /// Reads SOF (ITU-T T.81, B.2.2), without its marker and length.
    fn read(marker: u8, data: &[u8]) -> Option<Self> {
        let [_precision, _, _, _, _, count, rest @ ..] = data else { return None };
        let components = rest.chunks_exact(3).take(usize::from(*count));
        let samples: Vec<_> =
            components.map(|it| (u64::from(it[1] >> 4), u64::from(it[1] & 15))).collect();
        let fits =
            |&(across, down): &(u64, u64)| (1..=4).contains(&across) && (1..=4).contains(&down);
        let is_whole = (1..=4).contains(&samples.len()) && samples.len() == usize::from(*count);
        let is_progressive = !matches!(marker, 0xc0 | 0xc1);
        (is_whole && samples.iter().all(fits)).then_some(Self { is_progressive, samples })
    }

    /// Bytes for each pixel that the coefficients of all components take, two for each sample.
    fn coefficients(&self) -> u64 {
        let most = |of: fn(&(u64, u64)) -> u64| self.samples.iter().map(of).max().unwrap_or(1);
        let whole = most(|it| it.0) * most(|it| it.1);
        let samples: u64 = self.samples.iter().map(|(across, down)| across * down).sum();
        (2 * samples).div_ceil(whole)
    }
}

/// The segments of a JPEG that make the picture (ITU-T T.81, B.1).
fn jpeg(bytes: &[u8]) -> Option<Plain> {
    let mut rest = bytes.strip_prefix(b"\xff\xd8")?;
    let mut picture = Jpeg { kept: b"\xff\xd8".to_vec(), ..Jpeg::default() };
    while let [0xff, marker, tail @ ..] = rest {
        match marker {
            0xff => rest = &rest[1..],
            0x01 | 0xd0..=0xd8 => rest = tail,
            0xd9 => break,
            _ => {
                let length = u16::from_be_bytes(*tail.first_chunk::<2>()?);
                let mut end = (2 + usize::from(length.max(2))).min(rest.len());
                let data = rest.get(4..end).unwrap_or_default();
                let keeps = match picture.look(*marker, data)? {
                    Segment::End => break,
                    Segment::Kept => true,
                    Segment::LeftOut => false,
                };
                if *marker == 0xda {
                    end += entropy_coded(&rest[end..]);
                }
                if keeps {
                    picture.kept.extend_from_slice(&rest[..end]);
                }
                rest = &rest[end..];
            }
        }
    }
    picture.finish()
}

/// The part of a JPEG that was kept so far.
#[derive(Default)]
struct Jpeg {
    kept: Vec<u8>,
    frame: Option<Frame>,
    scans: usize,
    has_exif: bool,
}

enum Segment {
    Kept,
    LeftOut,
    /// Nothing from here on is kept.
    End,
}

impl Jpeg {
    /// The treatment of a segment; `None` for a malformed frame header.
    fn look(&mut self, marker: u8, data: &[u8]) -> Option<Segment> {
        let keeps = match marker {
            // A second frame could be of any size.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf if self.frame.is_some() => {
                return Some(Segment::End);
            }
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                self.frame = Some(Frame::read(marker, data)?);
                true
            }
            0xda if self.scans == MAX_SCANS => return Some(Segment::End),
            0xda => {
                self.scans += 1;
                true
            }
            0xe1 => data.starts_with(b"Exif\0\0") && !std::mem::replace(&mut self.has_exif, true),
            // JFIF and Adobe's say how colours are meant; DNL would change the height.
            0xe0 | 0xee => data.len() < 64,
            0xdc | 0xe2..=0xef | 0xfe => false,
            _ => true,
        };
        Some(if keeps { Segment::Kept } else { Segment::LeftOut })
    }

    fn finish(mut self) -> Option<Plain> {
        self.kept.extend_from_slice(b"\xff\xd9");
        let frame = self.frame?;
        let keeps_all = frame.is_progressive || self.scans > 1;
        let working = if keeps_all { frame.coefficients() } else { 1 };
        Some(Plain { bytes: self.kept.into(), working })
    }
}

/// The length of the coded data of a scan: up to a marker that is neither a stuffed byte nor RST.
fn entropy_coded(bytes: &[u8]) -> usize {
    let ends = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
    bytes.windows(2).position(ends).unwrap_or(bytes.len())
}

/// Bytes for each pixel that a WebP needs beside its picture, if the sizes in it agree (RFC 9649).
fn webp(bytes: &[u8]) -> Option<u64> {
    let (name, data) = webp_chunks(bytes.get(12..)?).next()?;
    if name != *b"VP8X" {
        return webp_picture(name, data).map(|(_, working)| working);
    }
    let canvas = (u24(data.get(4..)?)? + 1, u24(data.get(7..)?)? + 1);
    let mut chunks = webp_chunks(bytes.get(12..)?);
    let is_animated = data.first()? & 2 != 0;
    if !is_animated {
        let (size, working) = chunks.find_map(|(name, data)| webp_picture(name, data))?;
        // Its transparency is a picture of its own.
        return (size == canvas).then_some(working + 5);
    }
    let (_, frame) = chunks.find(|(name, _)| name == b"ANMF")?;
    let size = (u24(frame.get(6..)?)? + 1, u24(frame.get(9..)?)? + 1);
    let at = (2 * u24(frame)?, 2 * u24(frame.get(3..)?)?);
    let lies_within = at.0 + size.0 <= canvas.0 && at.1 + size.1 <= canvas.1;
    let picture = webp_chunks(frame.get(16..)?).find_map(|(name, data)| webp_picture(name, data));
    let (inner, working) = picture?;
    (lies_within && inner == size).then_some(working + 13)
}

/// The size of a `VP8 ` or `VP8L` chunk's picture, and the bytes for each pixel to decode it.
fn webp_picture(name: [u8; 4], data: &[u8]) -> Option<((u32, u32), u64)> {
    match &name {
        b"VP8 " => {
            let [0x9d, 0x01, 0x2a, a, b, c, d] = *data.get(3..10)? else { return None };
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
            Some(((side(a, b), side(c, d)), 2))
        }
        b"VP8L" => {
            let [0x2f, a, b, c, d] = *data.get(..5)? else { return None };
            let bits = u32::from_le_bytes([a, b, c, d]);
            Some((((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1), 5))
        }
        _ => None,
    }
}

fn webp_chunks(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (head, data) = rest.split_first_chunk::<8>()?;
        let [a, b, c, d, size @ ..] = *head;
        let size = usize::try_from(u32::from_le_bytes(size)).ok()?;
        let (data, _) = data.split_at(size.min(data.len()));
        rest = rest.get(8 + size.saturating_add(size % 2)..).unwrap_or_default();
        Some(([a, b, c, d], data))
    })
}

fn u24(bytes: &[u8]) -> Option<u32> {
    let [a, b, c] = *bytes.first_chunk::<3>()?;
    Some(u32::from_le_bytes([a, b, c, 0]))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::codecs::jpeg::JpegEncoder;
    use image::{ImageFormat, RgbImage};
    use proptest::prelude::*;

    use super::*;

    const KINDS: [Image; 4] = [Image::Png, Image::Jpeg, Image::Gif, Image::WebP];

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        RgbImage::new(40, 20).write_to(&mut bytes, format).expect("encoded");
        bytes.into_inner()
    }

    fn kept(kind: Image, bytes: &[u8]) -> Option<Vec<u8>> {
        plain(kind, &Bytes::copy_from_slice(bytes)).map(|plain| plain.bytes.to_vec())
    }

    /// The image with `more` at `at`.
    fn with(image: &[u8], at: usize, more: &[u8]) -> Vec<u8> {
        [&image[..at], more, &image[at..]].concat()
    }

    #[test]
    fn a_png_keeps_nothing_that_inflates_or_moves() {
        let image = encoded(ImageFormat::Png);
        for name in [b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"acTL", b"fcTL", b"fdAT", b"abcD"] {
            let chunk = [&[0, 0, 0, 2][..], name, b"xx", &[0; 4]].concat();
            // After IHDR: 8 bytes of signature, 25 of chunk.
            let more = with(&image, 33, &chunk);
            assert_eq!(kept(Image::Png, &more), Some(image.clone()), "{name:?}");
        }
        let huge = [&[0xff, 0xff, 0xff, 0xff][..], b"iCCP", b"xx"].concat();
        assert_eq!(kept(Image::Png, &with(&image, 33, &huge)).map(|it| it.len()), Some(33));
    }

    #[test]
    fn a_jpeg_keeps_its_picture_and_one_orientation() {
        let image = encoded(ImageFormat::Jpeg);
        assert_eq!(kept(Image::Jpeg, &image), Some(image.clone()));
        let segment = |marker, data: &[u8]| {
            let length = u16::try_from(data.len() + 2).expect("short").to_be_bytes();
            [&[0xff, marker][..], &length, data].concat()
        };
        let giant = vec![0; 65_000];
        for other in [segment(0xe2, b"ICC_PROFILE\0"), segment(0xfe, &giant), segment(0xe0, &giant)]
        {
            assert_eq!(kept(Image::Jpeg, &with(&image, 2, &other)), Some(image.clone()));
        }
        let mut turned = Vec::new();
        let mut encoder = JpegEncoder::new(&mut turned);
        image::ImageEncoder::set_exif_metadata(&mut encoder, b"II*\0".to_vec()).expect("taken");
        encoder.encode_image(&RgbImage::new(8, 8)).expect("encoded");
        assert_eq!(kept(Image::Jpeg, &turned), Some(turned));
    }

    #[test]
    fn a_jpeg_has_one_frame_and_so_many_scans() {
        let image = encoded(ImageFormat::Jpeg);
        let find = |marker| image.windows(2).position(|it| it == [0xff, marker]).expect("there");
        let scan = &image[find(0xda)..image.len() - 2];
        let scans = |times: usize| {
            let scans = scan.repeat(times);
            let bytes = [&image[..find(0xda)], &scans, b"\xff\xd9"].concat();
            plain(Image::Jpeg, &bytes.into()).expect("an image")
        };
        assert_eq!(scans(1).working, 1);
        // All three components are kept to the end, two bytes a sample.
        assert_eq!(scans(2).working, 6);
        assert_eq!(scans(5000).bytes, scans(MAX_SCANS).bytes);
        let frame = &image[find(0xc0)..find(0xc4)];
        let twice = plain(Image::Jpeg, &with(&image, find(0xda), frame).into());
        let twice = twice.expect("an image").bytes;
        assert!(!twice.windows(2).any(|it| it == [0xff, 0xda]), "stops at the second");
    }

    #[test]
    fn a_webp_whose_sizes_do_not_agree_is_none() {
        let image = encoded(ImageFormat::WebP);
        assert_eq!(kept(Image::WebP, &image), Some(image.clone()));
        let canvas = |width: u8| {
            let head =
                [&b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0"[..], &[width - 1, 0, 0, 19, 0, 0]];
            [head.concat().as_slice(), &image[12..]].concat()
        };
        assert!(kept(Image::WebP, &canvas(40)).is_some());
        assert!(kept(Image::WebP, &canvas(41)).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0_usize..300) {
            let formats = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP];
            let images = formats.map(encoded);
            for kind in KINDS {
                let _ = kept(kind, &bytes);
                for image in &images {
                    let torn = with(image, at.min(image.len()), &bytes);
                    let _ = (kept(kind, &torn), kept(kind, &image[..at.min(image.len())]));
                }
            }
        }
    }
}
