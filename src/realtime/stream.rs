//! An event stream (WHATWG server-sent events): what a socket would send, over plain HTTP.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::Realtime;
use super::socket::{Close, Ending, Next};
use super::visit::Visit;
use crate::services::access::Pass;
use crate::services::frames::Frame;

/// How long a client may take to read what is sent to it.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// How soon a client comes back, in milliseconds.
const RETRY: u32 = 1000;

/// What of a frame is said outside of it, too.
#[derive(Deserialize)]
struct Head<'a> {
    r#type: &'a str,
    id: Option<&'a str>,
}

/// Opens a stream, which ends when a socket would be closed, or with the client. What is received
/// is its bytes.
///
/// # Errors
/// How a socket would be closed instead.
pub async fn open(
    realtime: Arc<Realtime>,
    pass: Pass,
    addr: IpAddr,
    since: Option<&str>,
) -> Result<mpsc::Receiver<Bytes>, Close> {
    let arrival = realtime.hub.arrive(addr)?;
    let visit = realtime.admit(pass, addr, since).await?;
    // One portion at a time: what more there is waits in the visit's own queue, which is bounded.
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        let _arrival = arrival;
        tokio::select! {
            () = tell(&realtime, visit, &sender) => {}
            // Also one of whom nothing is told is noticed to have gone.
            () = sender.closed() => {}
        }
    });
    Ok(receiver)
}

async fn tell(realtime: &Realtime, mut visit: Visit, to: &mpsc::Sender<Bytes>) {
    let outcome = async {
        put(to, Bytes::from(format!("retry: {RETRY}\n\n"))).await?;
        put(to, events(std::slice::from_ref(&visit.ready))).await?;
        while let Some(frames) = visit.past(realtime).await? {
            put(to, events(&frames)).await?;
        }
        loop {
            match timeout(realtime.heartbeat, visit.socket.next()).await {
                Ok(Next::Frames(frames)) => put(to, events(&frames)).await?,
                Ok(Next::End(ending)) => return Err::<(), Ending>(ending),
                Err(_) => put(to, Bytes::from_static(b":\n\n")).await?,
            }
        }
    };
    if let Err(ending) = outcome.await {
        realtime.metrics.closed(ending.close.code().0);
        if let Some(last) = ending.last {
            let _ = put(to, events(&[last])).await;
        }
    }
}

async fn put(to: &mpsc::Sender<Bytes>, bytes: Bytes) -> Result<(), Ending> {
    match timeout(READ_WITHIN, to.send(bytes)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Close::Leaving.into()),
        Err(_) => Err(Close::TooSlow.into()),
    }
}

fn events(frames: &[Frame]) -> Bytes {
    let mut text = String::with_capacity(frames.iter().map(|frame| frame.len() + 96).sum());
    for frame in frames {
        if let Ok(Head { r#type, id }) = serde_json::from_str(frame) {
            if let Some(id) = id {
                text.extend(["id: ", id, "\n"]);
            }
            // A frame is one line: in JSON, a line break is always escaped.
            text.extend(["event: ", r#type, "\ndata: ", frame, "\n\n"]);
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_its_type_and_its_id() {
        let frame: Frame = r#"{"type":"typing","id":null,"at":"","data":{}}"#.into();
        let kept: Frame = r#"{"type":"group.deleted","id":"01","at":"","data":{}}"#.into();
        let text = events(&[frame.clone(), kept.clone()]);
        let expected = format!(
            "event: typing\ndata: {frame}\n\nid: 01\nevent: group.deleted\ndata: {kept}\n\n"
        );
        assert_eq!(text, expected.as_bytes());
    }
}
