//! Everything below the routes: listeners, TLS, connections and their limits.
//!
//! [`serve`] answers on up to three listeners. HTTPS carries the application, HTTP/1.1 or h2 as
//! ALPN agrees. An optional plain one redirects to it. Another plain one carries the admin
//! application. A connection goes through `accept` (limits), `connection` (handshake, protocol,
//! end), and hands each request with its [`Peer`] to the application (`exchange`).

mod accept;
mod certificates;
mod connection;
mod cross_origin;
mod detached;
mod driver;
pub mod edge;
mod exchange;
mod frames;
mod head;
mod listeners;
mod places;
mod pulse;
mod redirect;
mod socket;
#[cfg(test)]
mod tests;
mod tls;
mod upload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::select;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use self::accept::Port;
pub use self::certificates::TlsFiles;
use self::connection::Protocols;
use self::driver::Ending;
pub use self::exchange::Application;
pub use self::listeners::{Addresses, Listeners};
use self::places::{PlaceLimits, Places};
use self::pulse::Limits;
use self::redirect::Redirect;
pub use self::tls::Tls;
#[cfg(test)]
pub use self::upload::RequestBody;
use crate::lifecycle::Shutdown;
use crate::metrics::{ListenerMetrics, Metrics};

/// One of so many places is for connections that have not asked anything yet.
const UNUSED_SHARE: usize = 4;

/// Connections that the redirect listener holds at once; each lasts one request.
const REDIRECT_PLACES: PlaceLimits = PlaceLimits { all: 256, per_address: 64, unused: 256 };

/// The most that the redirect listener grants a client for its request head.
const REDIRECT_HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that the admin listener holds at once, apart from those of the application, so
/// that probes and metrics still answer when those are all taken.
const ADMIN_PLACES: PlaceLimits = PlaceLimits { all: 64, per_address: 32, unused: 16 };

/// How far a client may fall behind the least rate at which it reads an answer.
pub const SLOW_CLIENT: Duration = Duration::from_secs(30);

/// How long the admin listener outlives the last request of the application.
const ADMIN_GRACE: Duration = Duration::from_secs(1);

/// The address a request's connection came from, as a request extension.
///
/// An IPv4 address that arrives on an IPv6 socket is given as IPv4. It is the other end of the
/// connection, so a proxy's address where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Limits of the server.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Where clients reach the HTTPS listener, for redirects: `https://host[:port][/path]`.
    pub public_url: String,
    /// HTTPS connections held at once, handshakes and sockets included. A newcomer above it takes
    /// the place of the longest quiet one, or is closed as soon as it is accepted.
    pub max_connections: usize,
    /// HTTPS connections held at once from one address, of IPv6 from one /64.
    pub connections_per_address: usize,
    /// Proxies in front, whose connections are not limited by address.
    pub trusted_proxies: Arc<[IpNet]>,
    /// For the whole TLS handshake.
    pub handshake_timeout: Duration,
    /// For a request head, from its first byte to its last. The first head of a connection must
    /// be complete this long after the handshake.
    pub header_timeout: Duration,
    /// Between two requests of a connection, and for a client that does not read its answer.
    pub idle_timeout: Duration,
    /// How far a client may fall behind the least rate at which it reads an answer.
    pub slow_client: Duration,
    /// How often the certificate files are looked at for changes.
    pub certificate_interval: Duration,
}

/// Answers on all listeners until `shutdown` closes them and their connections are done.
///
/// `app` answers on the HTTPS listener and `admin` on the admin listener, which stays open until
/// the application's last request is answered. Returns when both are done, or at the hard end.
pub async fn serve<S, A>(
    listeners: Listeners,
    tls: Tls,
    options: ServerOptions,
    app: S,
    admin: A,
    shutdown: Shutdown,
    metrics: &Metrics,
) where
    S: Application,
    A: Application,
{
    let limits = Limits {
        header: options.header_timeout,
        idle: options.idle_timeout,
        behind: options.slow_client,
    };
    let all = options.max_connections;
    let places = PlaceLimits {
        all,
        per_address: options.connections_per_address,
        unused: (all / UNUSED_SHARE).max(1),
    };
    let counts = metrics.listener("https");
    let public = TaskTracker::new();
    let ending = Ending::new(shutdown.closing(), &shutdown, &public);
    let https = Port {
        name: "https",
        listener: listeners.https,
        places: Places::new(places, options.trusted_proxies.clone(), counts.clone()),
        protocols: Arc::new(Protocols::tls(&tls, options.handshake_timeout)),
        limits,
        service: app,
        ending: ending.clone(),
        metrics: counts,
    };
    public.spawn(https.run());
    if let Some(listener) = listeners.redirect {
        let metrics = metrics.listener("redirect");
        public.spawn(redirect(listener, &options, limits, ending, metrics).run());
    }
    let counts = metrics.listener("admin");
    let operators = Operators::begin(listeners.admin, admin, limits, &shutdown, counts);
    select! {
        never = tls.watch(options.certificate_interval, &shutdown) => match never {},
        () = shutdown.closing().cancelled() => {}
    }
    drain(&public, &shutdown).await;
    operators.end().await;
}

fn redirect(
    listener: TcpListener,
    options: &ServerOptions,
    limits: Limits,
    ending: Ending,
    metrics: ListenerMetrics,
) -> Port<Redirect> {
    Port {
        name: "redirect",
        listener,
        places: Places::new(REDIRECT_PLACES, options.trusted_proxies.clone(), metrics.clone()),
        protocols: Arc::new(Protocols::plain().without_keep_alive()),
        limits: Limits { header: limits.header.min(REDIRECT_HEADER_TIMEOUT), ..limits },
        service: Redirect::to(&options.public_url),
        ending,
        metrics,
    }
}

/// The admin listener, which ends after the others.
struct Operators {
    closing: CancellationToken,
    connections: TaskTracker,
}

impl Operators {
    fn begin<A: Application>(
        listener: Option<TcpListener>,
        service: A,
        limits: Limits,
        shutdown: &Shutdown,
        metrics: ListenerMetrics,
    ) -> Self {
        let closing = shutdown.hard().child_token();
        let connections = TaskTracker::new();
        if let Some(listener) = listener {
            let port = Port {
                name: "admin",
                listener,
                places: Places::new(ADMIN_PLACES, Arc::default(), metrics.clone()),
                protocols: Arc::new(Protocols::plain()),
                limits,
                service,
                ending: Ending::new(&closing, shutdown, &connections),
                metrics,
            };
            connections.spawn(port.run());
        }
        Self { closing, connections }
    }

    async fn end(self) {
        self.closing.cancel();
        self.connections.close();
        // A client that holds on to the admin listener must not hold the process.
        let _ = timeout(ADMIN_GRACE, self.connections.wait()).await;
    }
}

/// Waits until the connections are done, or the hard end.
async fn drain(public: &TaskTracker, shutdown: &Shutdown) {
    info!(event = "listeners_closed", "finishing requests");
    public.close();
    select! {
        biased;
        () = public.wait() => info!(event = "connections_drained", "all connections closed"),
        () = shutdown.hard().cancelled() => {
            warn!(event = "connections_dropped", connections = public.len(), "connections dropped");
        }
    }
}
