//! `mongodb.uri`: read strictly. An option either does what it says, or stops the start.

use std::fmt;
use std::time::Duration;

use mongodb::error::{Error as DriverError, ErrorKind};
use mongodb::options::{Acknowledgment, ClientOptions, ReadConcern};

use super::pool::RESERVED;
use super::{CONNECTIONS, majority};

/// The longest that finding a server, and again connecting to it, may take: a call that has to do
/// both is done within its deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often servers are asked how they are, and so how long one can pass for gone that answered
/// once that it was shutting down, or that stopped answering and goes on: shorter than
/// [`CONNECT_TIMEOUT`], so that calls wait for it. The driver's own ten seconds would be as long of 503.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Fewer connections than this leave too few for requests beside the reserved ones.
const LEAST_CONNECTIONS: u32 = 2 * RESERVED;

/// Why natter cannot work with the URI: one line, which begins with the setting's name and holds
/// nothing of the user name and the password.
#[derive(Debug)]
pub struct UriError(String);

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mongodb.uri: {}", self.0)
    }
}

impl std::error::Error for UriError {}

impl UriError {
    /// The driver's reason, unless it repeats a part of the credentials.
    pub(super) fn new(uri: &str, error: &DriverError) -> Self {
        let reason = match &*error.kind {
            ErrorKind::InvalidArgument { message, .. } => message.clone(),
            kind => kind.to_string(),
        };
        let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_escape = line.contains("URL encoded") || line.contains("unescaped");
        if is_escape || repeats_secret(uri, &line) {
            return Self(
                "it cannot be read; of a user name and a password, every character but letters, \
                 digits and - . _ ~ must be percent-encoded (@ is %40)"
                    .to_owned(),
            );
        }
        Self(line)
    }

    pub(super) fn other(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The shortest piece of a secret that gives something away.
const TELLING: usize = 4;

/// Whether a text has a piece of the URI's user name or password. Where the URI is broken, nobody
/// knows where those end: at its last `@`, at the most.
fn repeats_secret(uri: &str, text: &str) -> bool {
    let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
    let Some((secret, _)) = rest.rsplit_once('@') else { return false };
    let pieces: Vec<char> = secret.chars().collect();
    let tells = |piece: &[char]| text.contains(&piece.iter().collect::<String>());
    tells(&pieces) || pieces.windows(TELLING).any(tells)
}

/// The options of the URI, with those that natter needs beside them.
pub(super) async fn options(uri: &str) -> Result<ClientOptions, UriError> {
    if let Some(option) = unsupported(uri) {
        return Err(UriError::other(format!("natter does not support the option {option}")));
    }
    let options = ClientOptions::parse(uri).await.map_err(|error| UriError::new(uri, &error))?;
    check(&options).map_err(UriError)?;
    Ok(completed(options))
}

/// Options that the driver would read and then not heed, as they are spelt.
fn unsupported(uri: &str) -> Option<&str> {
    const UNHEEDED: [&str; 3] = ["waitqueuetimeoutms", "wtimeoutms", "sockettimeoutms"];
    let (_, query) = uri.rsplit_once('?')?;
    let mut names = query.split('&').filter_map(|option| option.split('=').next());
    names.find(|name| UNHEEDED.contains(&name.to_ascii_lowercase().as_str()))
}

/// Refuses options that cannot be honoured; the error ends the line.
fn check(options: &ClientOptions) -> Result<(), String> {
    let refuse = |why: &str| Err(why.to_owned());
    let write = options.write_concern.as_ref();
    if write.and_then(|write| write.w.as_ref()).is_some_and(|w| *w != Acknowledgment::Majority) {
        return refuse("w must be majority, or absent: what natter acknowledges is never lost");
    }
    if write.and_then(|write| write.journal) == Some(false) {
        return refuse("journal must be true, or absent: what natter acknowledges is never lost");
    }
    let reads = options.read_concern.as_ref();
    if reads.is_some_and(|reads| *reads != ReadConcern::majority()) {
        return refuse("readConcernLevel must be majority, or absent");
    }
    if options.retry_writes == Some(false) {
        return refuse("retryWrites must be true, or absent: natter relies on retryable writes");
    }
    if options.load_balanced == Some(true) {
        return refuse("loadBalanced must be false, or absent: natter watches the servers itself");
    }
    let most = options.max_pool_size.unwrap_or(CONNECTIONS);
    if most < LEAST_CONNECTIONS {
        return Err(format!("maxPoolSize must be at least {LEAST_CONNECTIONS}, not {most}"));
    }
    if options.min_pool_size.is_some_and(|least| least > most) {
        return Err(format!("minPoolSize must be at most maxPoolSize, which is {most}"));
    }
    let times = [
        ("serverSelectionTimeoutMS", options.server_selection_timeout),
        ("connectTimeoutMS", options.connect_timeout),
    ];
    for (name, time) in times {
        if time.is_some_and(|time| time.is_zero() || time > CONNECT_TIMEOUT) {
            let most = CONNECT_TIMEOUT.as_millis();
            return Err(format!(
                "{name} must be 1 to {most}, or absent: natter answers within 5 s"
            ));
        }
    }
    Ok(())
}

fn completed(mut options: ClientOptions) -> ClientOptions {
    if options.selection_criteria.take().is_some() {
        // Transactions run on the primary only, and what natter reads decides, or must show what
        // the same client has just written.
        tracing::info!(
            event = "read_preference_ignored",
            "mongodb.uri has a readPreference; natter reads from the primary"
        );
    }
    options.app_name.get_or_insert_with(|| "natter".to_owned());
    options.max_pool_size.get_or_insert(CONNECTIONS);
    options.server_selection_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
    options.heartbeat_freq.get_or_insert(HEARTBEAT);
    options.read_concern = Some(ReadConcern::majority());
    options.write_concern = Some(majority());
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn line(uri: &str) -> Option<String> {
        options(uri).await.err().map(|error| error.to_string())
    }

    #[tokio::test]
    async fn options_that_natter_honours_are_taken() {
        for taken in [
            "replicaSet=rs0",
            "readPreference=secondaryPreferred",
            "readPreference=nearest&maxStalenessSeconds=90&readPreferenceTags=dc:ny",
            "w=majority&journal=true&readConcernLevel=majority&retryWrites=true",
            "retryReads=false&directConnection=true&appName=chat",
            "maxPoolSize=8&minPoolSize=8&maxIdleTimeMS=60000&maxConnecting=4",
            "serverSelectionTimeoutMS=1500&connectTimeoutMS=2000&heartbeatFrequencyMS=2000",
            "tls=true&tlsAllowInvalidCertificates=true&authSource=admin",
        ] {
            assert_eq!(line(&format!("mongodb://u:p@localhost/?{taken}")).await, None, "{taken}");
        }
        let read = options("mongodb://localhost/?readPreference=secondary&appName=chat").await;
        let read = read.unwrap();
        assert!(read.selection_criteria.is_none());
        assert_eq!((read.app_name.as_deref(), read.max_pool_size), (Some("chat"), Some(64)));
        assert_eq!(read.heartbeat_freq, Some(HEARTBEAT));
        let read = options("mongodb://localhost/?heartbeatFrequencyMS=2000").await.unwrap();
        assert_eq!(read.heartbeat_freq, Some(Duration::from_secs(2)));
    }

    #[tokio::test]
    async fn options_that_it_cannot_honour_stop_it_with_their_name() {
        for (refused, name) in [
            ("w=1", "w must"),
            ("w=0", "w must"),
            ("w=3", "w must"),
            ("w=backups", "w must"),
            ("journal=false", "journal"),
            ("wTimeoutMS=10", "wTimeoutMS"),
            ("waitQueueTimeoutMS=10", "waitQueueTimeoutMS"),
            ("socketTimeoutMS=10", "socketTimeoutMS"),
            ("readConcernLevel=local", "readConcernLevel"),
            ("retryWrites=false", "retryWrites"),
            ("loadBalanced=true", "loadBalanced"),
            ("maxPoolSize=7", "maxPoolSize"),
            ("maxPoolSize=0", "maxPoolSize"),
            ("minPoolSize=65", "minPoolSize"),
            ("serverSelectionTimeoutMS=30000", "serverSelectionTimeoutMS"),
            ("connectTimeoutMS=0", "connectTimeoutMS"),
            ("readPreference=fastest", "fastest"),
            ("compressors=zstd", "compressors"),
            ("zlibCompressionLevel=3", "zlibCompressionLevel"),
            ("authMechanism=MONGODB-AWS", "aws-auth"),
            ("authMechanism=GSSAPI", "GSSAPI"),
            ("tlsCertificateKeyFilePassword=x", "tlsCertificateKeyFilePassword"),
            ("proxyHost=localhost", "proxyhost"),
            ("frobnicate=yes", "frobnicate"),
            ("replicaSet", "key=value"),
            ("replicaSet=a&replicaSet=b", "repeated"),
        ] {
            let line = line(&format!("mongodb://u:p@localhost/?{refused}")).await;
            let line = line.unwrap_or_else(|| panic!("{refused} was taken"));
            assert!(line.starts_with("mongodb.uri: ") && !line.contains('\n'), "{line}");
            assert!(line.contains(name), "{refused}: {line}");
        }
    }

    #[tokio::test]
    async fn no_line_holds_a_piece_of_the_password() {
        for uri in [
            "mongodb://ada:hunter2@secret@localhost/",
            "mongodb://ada:hunter2/secret@localhost/",
            "mongodb://ada:hunter2?secret@localhost/",
            "mongodb://ada:hunter2:secret@localhost/",
            "mongodb://ada:hunter2%secret@localhost/",
            "mongodb://ada:hunter2,secret@localhost/?frobnicate=hunter2",
            "mongodb://ada:hunter2&secret=hunter2@localhost/?x=hunter2",
            "mongodb://ada:hunter2@local host:port/",
            "mongodb+srv://ada:hunter2@localhost:27017/",
            "hunter2://ada:hunter2@localhost/",
        ] {
            let line = line(uri).await.unwrap_or_else(|| panic!("{uri} was taken"));
            assert!(line.starts_with("mongodb.uri: ") && !line.contains('\n'), "{line}");
            assert!(!line.contains("hunter2") && !line.contains("secret@"), "{uri}: {line}");
        }
    }
}
