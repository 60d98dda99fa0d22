//! A way to an instance that can be cut: what a cell tower, or a load balancer that restarts, does
//! to all who are connected.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Forwards connections to an instance on this machine, until it is cut.
pub struct Wire {
    /// `https://localhost:port`.
    pub url: String,
    cut: CancellationToken,
    _forwarding: AbortOnDropHandle<()>,
}

impl Wire {
    /// A way to the instance at this URL.
    pub async fn to(url: &str) -> Self {
        let port = url.rsplit(':').next().expect("a port").parse::<u16>().expect("a port");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("https://localhost:{}", listener.local_addr().expect("a port").port());
        let cut = CancellationToken::new();
        let forwarding = tokio::spawn(forward(listener, port, cut.clone()));
        Self { url, cut, _forwarding: AbortOnDropHandle::new(forwarding) }
    }

    /// Ends all connections at the same moment, by a reset.
    pub fn cut(self) {
        self.cut.cancel();
    }
}

async fn forward(listener: TcpListener, port: u16, cut: CancellationToken) {
    while let Ok((mut client, _)) = listener.accept().await {
        let cut = cut.clone();
        tokio::spawn(async move {
            let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            tokio::select! {
                () = cut.cancelled() => {
                    let _ = server.set_zero_linger();
                }
                _ = copy_bidirectional(&mut client, &mut server) => {}
            }
        });
    }
}
