//! Images: what is told of them, their previews, and the ones that are traps.

use std::io::Cursor;

use flate2::Crc;
use image::codecs::jpeg::JpegEncoder;
use image::{
    DynamicImage, GenericImageView, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage,
};

use super::{fetch, nothing_stays, send, stored, upload};
use crate::support::TestApp;

/// A picture, red on its left and blue on its right half.
pub fn picture(width: u32, height: u32) -> RgbImage {
    let colour = |x, _| if x < width / 2 { Rgb([250, 0, 0]) } else { Rgb([0, 0, 250]) };
    RgbImage::from_fn(width, height, colour)
}

pub fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).expect("encoded");
    bytes.into_inner()
}

pub fn gif(width: u32, height: u32) -> Vec<u8> {
    let opaque = DynamicImage::ImageRgb8(picture(width, height)).to_rgba8();
    encoded(opaque, ImageFormat::Gif)
}

pub fn png_chunk(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).expect("short");
    let body = [&name, data].concat();
    let mut crc = Crc::new();
    crc.update(&body);
    [&length.to_be_bytes(), body.as_slice(), &crc.sum().to_be_bytes()].concat()
}

/// A PNG of this size that holds next to nothing.
fn hollow_png(width: u32, height: u32) -> Vec<u8> {
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let header = png_chunk(*b"IHDR", &[&size[..], &[8, 6, 0, 0, 0]].concat());
    let signature = b"\x89PNG\r\n\x1a\n".to_vec();
    [signature, header, png_chunk(*b"IDAT", b"x"), png_chunk(*b"IEND", b"")].concat()
}

#[tokio::test]
async fn the_four_types_are_shown_with_previews_at_once() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for (format, content_type) in [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg"),
        (ImageFormat::Gif, "image/gif"),
        (ImageFormat::WebP, "image/webp"),
    ] {
        let bytes = if format == ImageFormat::Gif {
            gif(640, 200)
        } else {
            encoded(picture(640, 200), format)
        };
        let sent = upload(&alice, "a.html", bytes.clone()).await;
        assert_eq!(sent["content_type"], content_type);
        assert_eq!((&sent["width"], &sent["height"]), (&640.into(), &200.into()));
        let got = fetch(&alice, &sent, "url").await;
        assert!(got.body == bytes, "{content_type}: other bytes");
        assert_eq!(got.header("content-type"), content_type);
        assert!(got.header("content-disposition").starts_with("inline; "));
        assert_eq!(got.header("content-security-policy"), "default-src 'none'; sandbox");

        let small = fetch(&alice, &sent, "thumbnail_url").await;
        assert_eq!((small.status, small.header("content-type")), (200, "image/jpeg"));
        assert_ne!(small.header("etag"), got.header("etag"));
        let preview = image::load_from_memory(&small.body).expect("a picture").to_rgb8();
        assert_eq!(preview.dimensions(), (320, 100));
        assert!(preview[(10, 50)][0] > 200 && preview[(310, 50)][2] > 200, "{content_type}");
    }
}

#[tokio::test]
async fn previews_are_upright_see_through_and_never_enlarged() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    // Orientation 6: to be turned a quarter clockwise, so that left comes to be on top.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    let mut turned = Vec::new();
    let mut encoder = JpegEncoder::new(&mut turned);
    encoder.set_exif_metadata(exif).expect("taken");
    encoder.encode_image(&picture(640, 480)).expect("encoded");
    let sent = upload(&alice, "a.jpg", turned).await;
    assert_eq!((&sent["width"], &sent["height"]), (&480.into(), &640.into()));
    let small = fetch(&alice, &sent, "thumbnail_url").await;
    assert!(!small.body.windows(4).any(|bytes| bytes == b"Exif"));
    let preview = image::load_from_memory(&small.body).expect("a picture");
    assert_eq!(preview.dimensions(), (240, 320));
    assert!(preview.to_rgb8()[(120, 10)][0] > 200 && preview.to_rgb8()[(120, 310)][2] > 200);

    let glass = RgbaImage::from_pixel(20, 10, Rgba([0, 200, 0, 100]));
    let sent = upload(&alice, "a.png", encoded(glass, ImageFormat::Png)).await;
    let small = fetch(&alice, &sent, "thumbnail_url").await;
    assert_eq!(small.header("content-type"), "image/png");
    let preview = image::load_from_memory(&small.body).expect("a picture");
    assert_eq!(
        (preview.dimensions(), preview.to_rgba8()[(5, 5)]),
        ((20, 10), Rgba([0, 200, 0, 100]))
    );
}

#[tokio::test]
async fn too_many_pixels_are_refused_by_the_header_alone() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut wide_gif = gif(4, 4);
    wide_gif[6..10].fill(0xff);
    let wide_jpeg = {
        let mut jpeg = encoded(picture(16, 16), ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|it| it == b"\xff\xc0").expect("a frame header");
        jpeg[frame + 5..frame + 9].copy_from_slice(b"\xff\xdc\xff\xdc");
        jpeg
    };
    for bomb in [
        hollow_png(20_000, 20_000),
        hollow_png(40_000_001, 1),
        hollow_png(0x7fff_ffff, 0x7fff_ffff),
        wide_gif,
        wide_jpeg,
    ] {
        send(&alice, "bomb", bomb).await.problem(422, "image_too_large");
    }
    nothing_stays(&app).await;
}

#[tokio::test]
async fn what_cannot_be_decoded_is_a_download_or_has_no_preview() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let hollow = upload(&alice, "a.png", hollow_png(8000, 5000)).await;
    assert_eq!((&hollow["content_type"], &hollow["width"]), (&"image/png".into(), &8000.into()));
    assert!(hollow["thumbnail_url"].is_null());
    let polyglot = upload(&alice, "a.gif", "GIF89a/*\x01\x01\0\0\0*/=1;alert(1)//").await;
    assert_eq!(polyglot["content_type"], "image/gif");
    assert!(polyglot["thumbnail_url"].is_null());
    let got = fetch(&alice, &polyglot, "url").await;
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    let torn = upload(&alice, "a.png", &b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"[..]).await;
    assert_eq!(torn["content_type"], "application/octet-stream");
    assert!(torn["width"].is_null());
    let got = fetch(&alice, &torn, "url").await;
    assert!(got.header("content-disposition").starts_with("attachment; "));
    assert_eq!(stored(&app).await, [3, 3, 3]);
}
