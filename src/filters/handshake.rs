//! The opening handshake of a WebSocket (RFC 6455 §4.2) over HTTP/1.1.
//!
//! Not warp's own: that one gives no say in the size of buffers, which at 128 KiB for each socket
//! are most of what a quiet one costs.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use warp::Filter;
use warp::reply::Response;

use super::context::{RequestContext, context};
use super::frame_limit::FrameLimited;

/// An open WebSocket, whose frames are counted.
pub type WebSocket = WebSocketStream<FrameLimited<TokioIo<Upgraded>>>;

/// A client that wants to change the protocol.
#[derive(Debug)]
pub struct Handshake {
    upgrade: OnUpgrade,
    key: HeaderValue,
    /// Whether [`SUBPROTOCOL`] is among those that the client offers.
    is_offered: bool,
}

/// The subprotocol that a client may ask for (RFC 6455 §1.9).
pub const SUBPROTOCOL: &str = "natter.v1";

/// Extracts the handshake; `None` where the request is none.
pub fn handshake()
-> impl Filter<Extract = (Option<Handshake>,), Error = Infallible> + Copy + Send + Sync + 'static {
    let request = warp::header::headers_cloned().and(warp::ext::optional::<OnUpgrade>());
    request.and(context()).map(
        |headers: HeaderMap, upgrade: Option<OnUpgrade>, context: Arc<RequestContext>| {
            let asks = !context.is_head
                && lists(&headers, &CONNECTION, "upgrade")
                && lists(&headers, &UPGRADE, "websocket")
                && headers.get(SEC_WEBSOCKET_VERSION).is_some_and(|it| it == "13");
            let key = headers.get(SEC_WEBSOCKET_KEY).filter(|key| asks && is_nonce(key))?;
            let is_offered = items(&headers, &SEC_WEBSOCKET_PROTOCOL).any(|it| it == SUBPROTOCOL);
            Some(Handshake { upgrade: upgrade?, key: key.clone(), is_offered })
        },
    )
}

/// Whether it is 16 bytes in base64 (RFC 6455 §4.2.1).
fn is_nonce(key: &HeaderValue) -> bool {
    STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// Whether a header that is a list has this word in it.
fn lists(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    items(headers, name).any(|item| item.eq_ignore_ascii_case(word))
}

/// The items of a header that is a list.
fn items<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

impl Handshake {
    /// Answers that the protocol changes, and serves it then.
    pub fn accept<F>(
        self,
        config: WebSocketConfig,
        serve: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { upgrade, key, is_offered } = self;
        tokio::spawn(async move {
            // Who goes before the protocol has changed was never here.
            let Ok(upgraded) = upgrade.await else { return };
            let io = FrameLimited::new(TokioIo::new(upgraded));
            serve(WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await).await;
        });
        let mut response = Response::default();
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        if is_offered {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
        }
        response
    }
}
