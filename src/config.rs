//! Settings: what an operator may choose, read once at start and checked as a whole.
//!
//! `config/default.toml` is the reference: it lists and explains every setting. Over it come,
//! each winning over the one before, a file, the environment (`NATTER_SECTION__KEY`) and
//! `--set section.key=value`. Fields bear the names of their settings, so that a search for
//! `drain_seconds` finds everything about it.

mod error;
mod layers;
mod load;
mod read;
mod setting;
mod value;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use ipnet::IpNet;
use lettre::message::Mailbox;
use serde::Deserialize;
use url::Url;

pub use error::SettingsError;
pub use load::LoadOptions;
pub use value::{Authorities, ForwardedHeader, LogFormat, MailUrl, Quota, Secret, SigningKey};

/// All settings of one instance. `Debug` shows no secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Listeners, TLS, time-outs, what is in front.
    pub server: Server,
    /// The operators' listener.
    pub admin: Admin,
    /// The store.
    pub mongodb: Mongodb,
    /// Caches, counters, events.
    pub redis: Redis,
    /// Passwords and tokens.
    pub auth: Auth,
    /// Accounts.
    pub accounts: Accounts,
    /// Outgoing mail.
    pub mail: Mail,
    /// Rate limits by class of request.
    pub limits: Limits,
    /// Messages.
    pub messages: Messages,
    /// Groups.
    pub groups: Groups,
    /// Limits of each account.
    pub quotas: Quotas,
    /// Sockets.
    pub realtime: Realtime,
    /// The log.
    pub log: Log,
}

/// `[server]`: listeners, TLS, time-outs, what is in front.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// HTTPS listener; port 0 takes a free one.
    #[serde(deserialize_with = "read::one")]
    pub addr: SocketAddr,
    /// Certificate chain, PEM; set exactly when [`tls_key`](Self::tls_key) is.
    #[serde(default, deserialize_with = "read::optional")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM.
    #[serde(default, deserialize_with = "read::optional")]
    pub tls_key: Option<PathBuf>,
    /// Plain HTTP listener that redirects to [`public_url`](Self::public_url).
    #[serde(default, deserialize_with = "read::optional")]
    pub redirect_addr: Option<SocketAddr>,
    /// Where clients reach the service: https, no user, path `/`, no query, no fragment.
    #[serde(deserialize_with = "read::public_url")]
    pub public_url: Url,
    /// Proxies whose forwarding headers count; host bits are zero.
    #[serde(deserialize_with = "read::list")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they do.
    #[serde(deserialize_with = "read::one")]
    pub forwarded_header: ForwardedHeader,
    /// Origins that CORS lets in, as browsers write them; never `*`.
    #[serde(deserialize_with = "read::list")]
    pub cors_origins: Vec<HeaderValue>,
    /// Connections open at once.
    #[serde(deserialize_with = "read::whole::<_, _, 1, 1_000_000>")]
    pub max_connections: usize,
    /// Connections open at once from one address, of IPv6 from one /64; trusted proxies have as
    /// many as there are.
    #[serde(deserialize_with = "read::whole::<_, _, 1, 1_000_000>")]
    pub connections_per_address: usize,
    /// Time for a TLS handshake.
    #[serde(deserialize_with = "read::seconds::<_, 1, 300>")]
    pub handshake_seconds: Duration,
    /// Time for the headers of a request.
    #[serde(deserialize_with = "read::seconds::<_, 1, 300>")]
    pub header_seconds: Duration,
    /// Time for one request, from headers to the end of the answer.
    #[serde(deserialize_with = "read::seconds::<_, 1, 3600>")]
    pub request_seconds: Duration,
    /// Time a connection may be open without a request.
    #[serde(deserialize_with = "read::seconds::<_, 1, 3600>")]
    pub idle_seconds: Duration,
    /// Time for requests under way to finish at a stop.
    #[serde(deserialize_with = "read::seconds::<_, 0, 3600>")]
    pub drain_seconds: Duration,
    /// Time from unready to the listener closing.
    #[serde(deserialize_with = "read::seconds::<_, 0, 600>")]
    pub drain_delay_seconds: Duration,
}

impl Server {
    /// Certificate and key to serve with; `None` means a self-signed one for localhost.
    #[must_use]
    pub fn tls_files(&self) -> Option<(&Path, &Path)> {
        self.tls_cert.as_deref().zip(self.tls_key.as_deref())
    }
}

/// `[admin]`: the operators' listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Plain HTTP, not for the public network; `None` means there is none.
    #[serde(default, deserialize_with = "read::optional")]
    pub addr: Option<SocketAddr>,
}

/// `[mongodb]`: the store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mongodb {
    /// Connection string; only its scheme has been checked.
    #[serde(deserialize_with = "read::mongodb_uri")]
    pub uri: Secret,
    /// Database name: letters, digits, `_`, `-`, at most 63 bytes.
    #[serde(deserialize_with = "read::database")]
    pub database: String,
}

/// `[redis]`: caches, counters, events.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redis {
    /// `redis://` or `rediss://` with a host.
    #[serde(deserialize_with = "read::redis_url")]
    pub url: Secret,
    /// Authorities that the server's certificate is checked against; `None` means the public ones.
    #[serde(default, deserialize_with = "read::optional")]
    pub tls_ca: Option<Authorities>,
    /// Begins every key and channel; visible ASCII, 1 to 64 bytes.
    #[serde(deserialize_with = "read::redis_prefix")]
    pub prefix: String,
}

/// `[auth]`: passwords and tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Signs access tokens; `None` means the one kept in the store.
    #[serde(default, deserialize_with = "read::optional")]
    pub jwt_key: Option<SigningKey>,
    /// bcrypt's logarithmic cost.
    #[serde(deserialize_with = "read::whole::<_, _, 4, 15>")]
    pub bcrypt_cost: u32,
    /// Threads for hashing; 0 means one per core, see [`hashers`](Self::hashers).
    #[serde(deserialize_with = "read::whole::<_, _, 0, 256>")]
    pub bcrypt_threads: usize,
}

impl Auth {
    /// Number of hashing threads, with 0 resolved to the number of cores.
    #[must_use]
    pub fn hashers(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.bcrypt_threads)
            .or_else(|| std::thread::available_parallelism().ok())
            .unwrap_or(NonZeroUsize::MIN)
    }
}

/// `[accounts]`: accounts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// Whether PUT /profile needs the password to change the e-mail address.
    #[serde(deserialize_with = "read::one")]
    pub email_change_needs_password: bool,
    /// Whether a new password may not be one of the most common.
    #[serde(deserialize_with = "read::one")]
    pub refuse_common_passwords: bool,
}

/// `[mail]`: outgoing mail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mail {
    /// Where mails go.
    #[serde(deserialize_with = "read::one")]
    pub url: MailUrl,
    /// Authorities that the server's certificate is checked against; `None` means the public ones.
    #[serde(default, deserialize_with = "read::optional")]
    pub tls_ca: Option<Authorities>,
    /// Sender of every mail.
    #[serde(deserialize_with = "read::one")]
    pub from: Mailbox,
}

/// `[limits]`: requests per window, by class; `None` means no limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Signup, login, verification, refresh.
    #[serde(deserialize_with = "read::quota")]
    pub auth: Option<Quota>,
    /// Reading.
    #[serde(deserialize_with = "read::quota")]
    pub read: Option<Quota>,
    /// Changing.
    #[serde(deserialize_with = "read::quota")]
    pub write: Option<Quota>,
    /// Attachments and pictures.
    #[serde(deserialize_with = "read::quota")]
    pub upload: Option<Quota>,
    /// Searches.
    #[serde(deserialize_with = "read::quota")]
    pub search: Option<Quota>,
    /// New sockets.
    #[serde(deserialize_with = "read::quota")]
    pub socket: Option<Quota>,
}

/// `[messages]`: messages.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Messages {
    /// Number of message collections; must match the store's.
    #[serde(deserialize_with = "read::whole::<_, _, 1, 64>")]
    pub shards: u32,
    /// Whether direct messages need an accepted friendship.
    #[serde(deserialize_with = "read::one")]
    pub require_friendship: bool,
}

/// `[groups]`: groups.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Groups {
    /// Members a group may have, owner included.
    #[serde(deserialize_with = "read::whole::<_, _, 1, 1000>")]
    pub max_members: u32,
}

/// `[quotas]`: limits of each account; `None` means any number.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quotas {
    /// Mebibytes of files that exist; see [`storage_bytes`](Self::storage_bytes).
    #[serde(deserialize_with = "read::at_most::<_, 1_000_000_000>")]
    pub storage_mib: Option<u32>,
    /// Sessions that stand.
    #[serde(deserialize_with = "read::at_most::<_, 100_000>")]
    pub sessions: Option<u32>,
    /// Outgoing friend requests that wait for an answer.
    #[serde(deserialize_with = "read::at_most::<_, 100_000>")]
    pub pending_requests: Option<u32>,
    /// Groups made in 24 hours.
    #[serde(deserialize_with = "read::at_most::<_, 100_000>")]
    pub groups_per_day: Option<u32>,
}

impl Quotas {
    /// Bytes of files that exist.
    #[must_use]
    pub fn storage_bytes(&self) -> Option<u64> {
        self.storage_mib.map(|mib| u64::from(mib) * 1024 * 1024)
    }
}

/// `[realtime]`: sockets.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Realtime {
    /// Time between two pings of a socket.
    #[serde(deserialize_with = "read::seconds::<_, 1, 300>")]
    pub heartbeat_seconds: Duration,
    /// Sockets that one client address may have open at an instance.
    #[serde(deserialize_with = "read::whole::<_, _, 1, 1_000_000>")]
    pub sockets_per_address: usize,
}

/// `[log]`: the log.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Shape of a line.
    #[serde(deserialize_with = "read::one")]
    pub format: LogFormat,
    /// A level, or directives as `tracing_subscriber::EnvFilter` takes them.
    #[serde(deserialize_with = "read::log_level")]
    pub level: String,
}

#[cfg(test)]
mod tests;
