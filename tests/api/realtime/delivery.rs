//! Every event, once, in order, on every device, whichever instance each is on.

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test]
async fn a_message_reaches_every_device_on_every_instance() {
    let app = TestApp::spawn().await;
    let other = app.second_instance().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let (mut here, mut there) = (alice.socket().await, other.seen_by(&alice).socket().await);
    let mut bobs = other.seen_by(&bob).socket().await;
    for n in 0..20 {
        let sent = alice.send(&bob, &format!("message {n}")).await;
        for socket in [&mut here, &mut there, &mut bobs] {
            assert_eq!(socket.expect("message.created").await, sent);
        }
    }
    let sent = other.seen_by(&bob).send(&alice, "and back").await;
    for socket in [&mut here, &mut there, &mut bobs] {
        assert_eq!(socket.expect("message.created").await, sent);
    }
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed() {
    let app = TestApp::spawn().await;
    let (alice, bob) = (app.user("alice").await, app.user("bob").await);
    let mut socket = bob.socket().await;
    alice.send(&bob, "seen").await;
    socket.expect("message.created").await;
    let seen = socket.last_id();
    drop(socket);
    let mut missed = Vec::new();
    for n in 0..150 {
        missed.push(alice.send(&bob, &format!("missed {n}")).await);
    }
    let mut back = bob.socket_since(&seen).await;
    assert_eq!(back.ready["recovered"], json!(true));
    for message in &missed {
        assert_eq!(&back.expect("message.created").await, message);
    }
    let live = alice.send(&bob, "live").await;
    assert_eq!(back.expect("message.created").await, live);
    let lost = bob.socket_since("of another service").await;
    assert_eq!(lost.ready["recovered"], json!(false));
}
