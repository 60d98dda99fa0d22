//! Previews hold nothing of what an image tells besides its picture.

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageEncoder, ImageFormat, Rgba, RgbaImage};

use super::images::{encoded, picture, png_chunk};
use super::{fetch, upload};
use crate::support::TestApp;

/// TIFF with a description and a place: IFD 0 has both, the GPS IFD the latitude's letter.
fn exif() -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    let entry = |tag: u16, kind: u16, count: u32, value: [u8; 4]| {
        let head = [tag.to_le_bytes(), kind.to_le_bytes()].concat();
        [head.as_slice(), &count.to_le_bytes(), &value].concat()
    };
    tiff.extend([2, 0]);
    tiff.extend(entry(0x010e, 2, 13, 38_u32.to_le_bytes()));
    tiff.extend(entry(0x8825, 4, 1, 51_u32.to_le_bytes()));
    tiff.extend([0; 4]);
    tiff.extend(b"SECRET PLACE\0");
    tiff.extend([1, 0]);
    tiff.extend(entry(0x0001, 2, 2, *b"N\0\0\0"));
    tiff.extend([0; 4]);
    tiff
}

/// The markers of a JPEG up to its scan.
fn segments(jpeg: &[u8]) -> Vec<u8> {
    let (mut at, mut found) = (2, Vec::new());
    while jpeg[at + 1] != 0xda {
        assert_eq!(jpeg[at], 0xff, "a marker");
        found.push(jpeg[at + 1]);
        at += 2 + usize::from(u16::from_be_bytes([jpeg[at + 2], jpeg[at + 3]]));
    }
    found
}

/// The names of a PNG's chunks.
fn chunks(png: &[u8]) -> Vec<String> {
    let (mut at, mut found) = (8, Vec::new());
    while at < png.len() {
        let length = png[at..at + 4].iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte));
        found.push(String::from_utf8_lossy(&png[at + 4..at + 8]).into_owned());
        at += 12 + length;
    }
    found
}

fn holds(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

const TOLD: [&str; 5] = ["SECRET", "Exif", "ICC_PROFILE", "II*\0", "http"];

#[tokio::test]
async fn a_jpegs_place_profile_and_comment_do_not_come_through() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    // Made smaller, and left at its size.
    for (width, height) in [(640, 480), (64, 48)] {
        let mut jpeg = Vec::new();
        let mut encoder = JpegEncoder::new(&mut jpeg);
        encoder.set_exif_metadata(exif()).expect("taken");
        encoder.set_icc_profile(b"SECRET PROFILE".repeat(20)).expect("taken");
        encoder.encode_image(&picture(width, height)).expect("encoded");
        let comment = b"\xff\xfe\0\x10SECRET COMMENT";
        jpeg.splice(2..2, comment.iter().copied());
        let xmp = b"\xff\xe1\0\x28http://ns.adobe.com/xap/1.0/\0SECRET XMP";
        let length = u8::try_from(xmp.len() - 2).expect("short");
        jpeg.splice(2..2, xmp.iter().copied());
        jpeg[5] = length;
        assert!(TOLD.iter().all(|it| holds(&jpeg, it)), "the test says too little");

        let sent = upload(&alice, "a.jpg", jpeg.clone()).await;
        assert_eq!((&sent["width"], &sent["height"]), (&width.into(), &height.into()));
        assert!(fetch(&alice, &sent, "url").await.body == jpeg, "other bytes came back");
        let small = fetch(&alice, &sent, "thumbnail_url").await;
        assert_eq!(small.header("content-type"), "image/jpeg");
        assert!(TOLD.iter().all(|it| !holds(&small.body, it)));
        // JFIF, tables and the frame: no other application's data, no comment.
        let plain =
            segments(&small.body).into_iter().all(|it| matches!(it, 0xe0 | 0xdb | 0xc0 | 0xc4));
        assert!(plain, "{:x?}", segments(&small.body));
    }
}

#[tokio::test]
async fn a_pngs_texts_do_not_come_through() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let glass = RgbaImage::from_pixel(20, 10, Rgba([0, 200, 0, 100]));
    let opaque = DynamicImage::ImageRgb8(picture(20, 10));
    for (image, kind) in [(glass.into(), "image/png"), (opaque, "image/jpeg")] {
        let mut png = encoded(image, ImageFormat::Png);
        for chunk in [
            png_chunk(*b"tEXt", b"Comment\0SECRET text"),
            png_chunk(*b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0SECRET http"),
            png_chunk(*b"eXIf", &exif()),
            png_chunk(*b"tIME", &[7, 0xe6, 1, 1, 1, 1, 1]),
        ] {
            // After the header, before the picture.
            png.splice(33..33, chunk);
        }
        let sent = upload(&alice, "a.png", png).await;
        assert_eq!(sent["content_type"], "image/png");
        let small = fetch(&alice, &sent, "thumbnail_url").await;
        assert_eq!(small.header("content-type"), kind);
        assert!(TOLD.iter().all(|it| !holds(&small.body, it)));
        if kind == "image/png" {
            assert_eq!(chunks(&small.body), ["IHDR", "IDAT", "IEND"]);
        }
    }
}
