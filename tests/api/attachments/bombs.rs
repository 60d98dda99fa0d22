//! Images that are small to send and large to decode, and accounts that send many.

use futures_util::future::join_all;
use image::{ImageFormat, RgbImage};
use reqwest::multipart::{Form, Part};

use super::images::{encoded, gif, picture, png_chunk};
use super::memory::{instance, peak};
use super::{send, upload};
use crate::support::{Actor, Answer, TestApp};

/// KiB that a process may need more for any number of images at once: those being decoded, as
/// many files in memory, and what the uploads themselves take.
const MOST: usize = 512 * 1024;

/// A zlib stream that inflates to 120 MB.
fn inflating() -> Vec<u8> {
    let image = encoded(RgbImage::new(8000, 5000), ImageFormat::Png);
    let mut rest = &image[8..];
    let mut data = Vec::new();
    while let [a, b, c, d, name @ ..] = rest {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if name.starts_with(b"IDAT") {
            data.extend_from_slice(&name[4..4 + length]);
        }
        rest = &rest[12 + length..];
    }
    data
}

/// A PNG with one more chunk, right after its header.
fn png_with(name: [u8; 4], data: &[u8]) -> Vec<u8> {
    let image = encoded(picture(640, 480), ImageFormat::Png);
    [&image[..33], &png_chunk(name, data), &image[33..]].concat()
}

/// PNGs whose profile or text inflates.
fn inflating_pngs() -> Vec<Vec<u8>> {
    let inflating = inflating();
    vec![
        png_with(*b"iCCP", &[b"p\0\0", inflating.as_slice()].concat()),
        png_with(*b"zTXt", &[b"t\0\0", inflating.as_slice()].concat()),
        png_with(*b"iTXt", &[b"t\0\x01\0\0\0", inflating.as_slice()].concat()),
    ]
}

/// A JPEG whose one scan comes thousands of times.
fn jpeg_of_many_scans() -> Vec<u8> {
    let image = encoded(picture(400, 200), ImageFormat::Jpeg);
    let scan = image.windows(2).position(|it| it == b"\xff\xda").expect("a scan");
    let scans = image[scan..image.len() - 2].repeat(100);
    [&image[..scan], &scans, b"\xff\xd9"].concat()
}

/// A GIF of thousands of pictures.
fn gif_of_many_frames() -> Vec<u8> {
    let image = gif(80, 60);
    // After the screen and its colours, if any: the frame, with what belongs to it.
    let begin = image.windows(2).position(|it| it == b"\x21\xf9").expect("a frame");
    let frames = image[begin..image.len() - 1].repeat(500);
    [&image[..begin], &frames, b";"].concat()
}

#[tokio::test]
async fn what_inflates_or_repeats_is_left_out_and_the_picture_is_shown() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let mut bombs = inflating_pngs();
    bombs.extend([jpeg_of_many_scans(), gif_of_many_frames()]);
    for bomb in bombs {
        let sent = upload(&alice, "bomb", bomb).await;
        assert!(sent["thumbnail_url"].is_string(), "{sent}");
    }
}

#[tokio::test]
async fn torn_images_are_downloads_or_have_no_preview() {
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP, ImageFormat::Gif] {
        let whole = if format == ImageFormat::Gif {
            gif(300, 200)
        } else {
            encoded(picture(300, 200), format)
        };
        for length in [13, 40, whole.len() / 2, whole.len() - 1] {
            upload(&alice, "torn", &whole[..length]).await;
        }
    }
}

#[tokio::test]
async fn sixteen_bombs_at_once_take_a_bounded_memory() {
    let app = TestApp::spawn().await;
    let people = join_all(["ada", "bob", "cyd", "dan"].map(|name| app.user(name))).await;
    let (child, url) = instance(&app).await;
    let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true);
    let http = http.build().expect("a client");
    let post = async |actor: &Actor, bomb: Vec<u8>| {
        let form = Form::new().part("file", Part::bytes(bomb).file_name("bomb"));
        let request = http.post(format!("{url}/attachments")).bearer_auth(&actor.token);
        Answer::of(request.multipart(form)).await.status
    };
    assert_eq!(post(&people[0], gif(4, 4)).await, 201);
    let before = peak(&child);
    let mut bombs = inflating_pngs();
    // 40 megapixels in four channels.
    bombs.push(encoded(image::RgbaImage::new(8000, 5000), ImageFormat::Png));
    let uploads = people.iter().flat_map(|actor| bombs.iter().map(move |bomb| (actor, bomb)));
    let statuses = join_all(uploads.map(|(actor, bomb)| post(actor, bomb.clone()))).await;
    assert!(statuses.iter().all(|status| [201, 503].contains(status)), "{statuses:?}");
    let grown = peak(&child) - before;
    assert!(grown < MOST, "{grown} KiB");
}

#[tokio::test]
async fn one_account_does_not_fill_the_queue_of_images() {
    let app = TestApp::spawn().await;
    let (mallory, alice) = (app.user("mallory").await, app.user("alice").await);
    let large = encoded(image::RgbaImage::new(8000, 5000), ImageFormat::Png);
    let flood = tokio::spawn(async move {
        join_all((0..30).map(|_| send(&mallory, "large", large.clone()))).await
    });
    for _ in 0..3 {
        let began = tokio::time::Instant::now();
        upload(&alice, "small.gif", gif(40, 40)).await;
        assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
    }
    for answer in flood.await.expect("no panic") {
        if answer.status == 503 {
            assert!(!answer.header("retry-after").is_empty());
            answer.problem(503, "unavailable");
        } else {
            answer.ok(201);
        }
    }
}
