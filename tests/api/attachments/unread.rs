//! Downloads and other answers that are asked for and not read.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Document, doc};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::memory::{certificate, instance, peak};
use super::{LIMIT, fetch, noise, upload};
use crate::support::{Actor, TestApp};

/// Requests of one h2 connection.
const STREAMS: usize = 100;

/// Clients that take one byte of each answer.
struct Clients {
    address: String,
    tls: TlsConnector,
}

impl Clients {
    fn of(app: &TestApp, url: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        let file = certificate(app);
        roots.add(CertificateDer::from_pem_file(file).expect("a certificate")).expect("taken");
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self { address: url.replace("https://", ""), tls: Arc::new(config).into() }
    }

    async fn connection(&self) -> http2::SendRequest<Empty<Bytes>> {
        let tcp = TcpStream::connect(&self.address).await.expect("connected");
        let name = ServerName::try_from("localhost").expect("a name");
        let tls = self.tls.connect(name, tcp).await.expect("TLS");
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1);
        let (sender, driver) = builder.handshake(TokioIo::new(tls)).await.expect("h2");
        tokio::spawn(driver);
        sender
    }

    /// Asks for a path so many times, on as many connections as that takes; nothing is read.
    async fn ask(&self, path: &str, actor: &Actor, times: usize) -> Vec<Response<Incoming>> {
        let mut senders = Vec::new();
        for _ in 0..times.div_ceil(STREAMS) {
            senders.push(self.connection().await);
        }
        let asked = (0..times).map(|n| {
            let request = http::Request::get(format!("https://localhost{path}"))
                .header("authorization", format!("Bearer {}", actor.token))
                .header("accept-encoding", "gzip");
            let request = request.body(Empty::new()).expect("a request");
            senders[n / STREAMS].clone().send_request(request)
        });
        let asked: Vec<_> = asked.collect();
        join_all(asked).await.into_iter().map(|answer| answer.expect("an answer")).collect()
    }
}

fn count(answers: &[Response<Incoming>], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status() == status).count()
}

#[tokio::test]
async fn downloads_that_are_not_read_take_a_bounded_memory() {
    let app = TestApp::spawn().await;
    let (mallory, alice) = (app.user("mallory").await, app.user("alice").await);
    let file = upload(&mallory, "large", noise(LIMIT)).await;
    let path = file["url"].as_str().expect("a path");
    let (child, url) = instance(&app).await;
    let clients = Clients::of(&app, &url);
    drop(clients.ask(path, &mallory, 10).await);
    let before = peak(&child);
    let answers = clients.ask(path, &mallory, 400).await;
    // 16 MiB of 128 KiB each; the others waited, and are told to come back.
    assert_eq!((count(&answers, 200), count(&answers, 503)), (128, 272));
    let refused = answers.iter().find(|answer| answer.status() == 503).expect("refused");
    assert!(refused.headers().contains_key("retry-after"));
    let grown = peak(&child) - before;
    assert!(grown < 64 * 1024, "{grown} KiB");
    // Nobody else is kept from downloading.
    let own = upload(&alice, "mine", noise(LIMIT)).await;
    let answers = clients.ask(own["url"].as_str().expect("a path"), &alice, 1).await;
    assert_eq!(count(&answers, 200), 1);
}

#[tokio::test]
async fn pages_that_are_not_read_take_a_bounded_memory() {
    let app = TestApp::spawn().await;
    let (mallory, bob) = (app.user("mallory").await, app.user("bob").await);
    // No two alike, or a compressor would make little of them all.
    let text: String = noise(400_000).iter().map(|byte| char::from(b'a' + byte % 26)).collect();
    for part in 0..50 {
        mallory.send(&bob, &text[part * 8000..(part + 1) * 8000]).await;
    }
    let (child, url) = instance(&app).await;
    let clients = Clients::of(&app, &url);
    let path = format!("/messages/{}", bob.id);
    drop(clients.ask(&path, &mallory, 1).await);
    let before = peak(&child);
    let answers = clients.ask(&path, &mallory, 200).await;
    let (read, refused) = (count(&answers, 200), count(&answers, 503));
    assert!(read >= 20 && refused >= 50 && read + refused == 200, "{read} {refused}");
    let grown = peak(&child) - before;
    assert!(grown < 256 * 1024, "{grown} KiB");
}

#[tokio::test]
async fn files_with_the_first_size_of_chunks_are_read_as_before() {
    const CHUNK: usize = 255 * 1024;
    let app = TestApp::spawn().await;
    let alice = app.user("alice").await;
    let bytes = noise(2 * CHUNK + 10);
    let file = upload(&alice, "old", bytes.clone()).await;
    // As such a file was stored: three chunks, and a row that does not say how long they are.
    let database = app.database().await;
    let chunks = database.collection::<Document>("fs.chunks");
    let some = chunks.find_one(doc! {}).await.expect("found").expect("a chunk");
    let id = some.get("files_id").expect("a key").clone();
    chunks.delete_many(doc! { "files_id": id.clone() }).await.expect("deleted");
    for (n, data) in (0..).zip(bytes.chunks(CHUNK)) {
        let data = Binary { subtype: BinarySubtype::Generic, bytes: data.to_vec() };
        let chunk = doc! { "files_id": id.clone(), "n": n, "data": data };
        chunks.insert_one(chunk).await.expect("inserted");
    }
    let rows = database.collection::<Document>("attachments");
    let forget = doc! { "$unset": { "chunk_size": "" } };
    rows.update_one(doc! { "_id": id }, forget).await.expect("changed");
    let got = fetch(&alice, &file, "url").await;
    assert!(got.body == bytes, "other bytes");
}
