//! A client that does not read slows nobody else, and loses nothing.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::time::sleep;

use crate::support::TestApp;

/// Enough, at 32 KB each, to fill whatever lies between natter and a client.
const MESSAGES: usize = 400;

/// Longer than a client may go without reading.
const STALL: Duration = Duration::from_secs(14);

#[tokio::test]
async fn a_slow_reader_is_closed_and_comes_back_for_everything() {
    let app = TestApp::spawn().await;
    let (ada, bob, cy) = (app.user("ada").await, app.user("bob").await, app.user("cyd").await);
    let group = ada.group("talk", &[bob.clone(), cy.clone()]).await;
    let (mut slow, mut quick) = (bob.socket().await, cy.socket().await);
    let text = "\u{1f40c}".repeat(8000);
    let talk = async {
        let sends = (0..MESSAGES).map(|_| ada.tell(&group, &text));
        stream::iter(sends).buffer_unordered(8).count().await
    };
    let reading = async {
        for seq in 1..=MESSAGES {
            let message = quick.expect("message.created").await;
            assert_eq!(message["seq"], seq, "while another does not read");
        }
    };
    tokio::join!(talk, reading);
    sleep(STALL).await;
    // It reads on, and learns why it does not go on.
    let (mut seen, mut next) = (0, slow.next_or_end().await);
    while let Ok(frame) = &next {
        seen += 1;
        assert_eq!(frame["data"]["seq"], seen);
        next = slow.next_or_end().await;
    }
    assert_eq!(next, Err(Some(4413)), "after {seen}");
    assert!((1..MESSAGES).contains(&usize::try_from(seen).expect("small")), "{seen}");
    let mut back = bob.socket_since(&slow.last_id()).await;
    assert_eq!(back.ready["recovered"], true);
    for seq in seen + 1..=MESSAGES as u64 {
        assert_eq!(back.expect("message.created").await["seq"], seq);
    }
    back.ping().await;
}
