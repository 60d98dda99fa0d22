//! `natter check`: tries all that the settings name, and says a line about each. What an operator
//! runs first.

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tokio::net::TcpListener;
use tokio::time::timeout;
use url::Host;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::cache::Redis;
use crate::config::Settings;
use crate::domain::clock::Clock;
use crate::domain::findings::{Finding, Level};
use crate::mail::Mailer;
use crate::metrics::Metrics;
use crate::server::{Tls, TlsFiles};
use crate::store::Store;
use crate::store::check::{compared, findings};

/// How long connecting to the mail server may take.
const MAIL_DEADLINE: Duration = Duration::from_secs(15);

/// A certificate that ends sooner is worth a word, in seconds.
const RENEWAL: i64 = 14 * 24 * 3600;

/// That something would not work.
#[derive(Debug, thiserror::Error)]
#[error("{0} of {1} checks failed")]
pub struct Failed(usize, usize);

/// Checks, and prints each line as soon as it is known.
///
/// # Errors
/// Something would not work.
pub async fn run(settings: &Settings) -> Result<(), Failed> {
    let (mut all, mut failed) = (0, 0);
    let mut say = |findings: Vec<Finding>| {
        for finding in findings {
            all += 1;
            failed += usize::from(finding.level == Level::Fail);
            // The reader may stop early; the exit code says it all.
            let _ = writeln!(std::io::stdout(), "{finding}");
        }
    };
    say(vec![Finding::ok("settings", "are all valid")]);
    say(certificate(settings));
    say(ports(settings).await);
    say(mongodb(settings).await);
    say(redis(settings).await);
    say(mail(settings).await);
    if failed == 0 { Ok(()) } else { Err(Failed(failed, all)) }
}

fn certificate(settings: &Settings) -> Vec<Finding> {
    let what = "server.tls_cert";
    let files = settings.server.tls_files();
    let is_own = files.is_none();
    let files = files.map(|(cert, key)| TlsFiles { cert: cert.into(), key: key.into() });
    let tls = match Tls::load(files) {
        Ok(tls) => tls,
        Err(error) => return vec![Finding::fail(what, error.to_string())],
    };
    let host = settings.server.public_url.host();
    if is_own {
        let is_local = matches!(host, Some(Host::Domain("localhost")));
        let says = "is not set: a self-signed certificate for localhost";
        let finding = if is_local { Finding::ok(what, says) } else { Finding::warn(what, says) };
        return vec![finding];
    }
    let certificate = tls.certificate();
    let mut findings = vec![Finding::ok(what, "fits its key")];
    findings.extend(dates(&certificate));
    findings.extend(host.map(|host| name(&certificate, &host.to_string())));
    findings
}

fn dates(certificate: &CertificateDer<'_>) -> Option<Finding> {
    let what = "server.tls_cert";
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let (from, to) = (parsed.validity().not_before, parsed.validity().not_after);
    let now = Clock::system().now().seconds();
    Some(if now < from.timestamp() {
        Finding::fail(what, format!("is not valid before {from}"))
    } else if now > to.timestamp() {
        Finding::fail(what, format!("expired: {to}"))
    } else if to.timestamp() - now < RENEWAL {
        Finding::warn(what, format!("expires within two weeks: {to}"))
    } else {
        Finding::ok(what, format!("is valid until {to}"))
    })
}

fn name(certificate: &CertificateDer<'_>, host: &str) -> Finding {
    let what = "server.public_url";
    let parsed = ParsedCertificate::try_from(certificate);
    let host = host.trim_matches(['[', ']']);
    let is_named = ServerName::try_from(host).is_ok_and(|name| {
        parsed.is_ok_and(|parsed| rustls::client::verify_server_name(&parsed, &name).is_ok())
    });
    if is_named {
        Finding::ok(what, format!("the certificate is for {host}"))
    } else {
        Finding::warn(what, format!("the certificate is not for {host}: right behind a proxy only"))
    }
}

async fn ports(settings: &Settings) -> Vec<Finding> {
    let (server, admin) = (&settings.server, &settings.admin);
    let addresses: [(&'static str, Option<SocketAddr>); 3] = [
        ("server.addr", Some(server.addr)),
        ("server.redirect_addr", server.redirect_addr),
        ("admin.addr", admin.addr),
    ];
    let mut findings = Vec::new();
    for (what, addr) in addresses {
        let Some(addr) = addr else { continue };
        findings.push(match TcpListener::bind(addr).await {
            Ok(_) => Finding::ok(what, format!("{addr} is free")),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                Finding::warn(what, format!("{addr} is in use; by natter, if it runs already"))
            }
            Err(error) => Finding::fail(what, format!("cannot listen on {addr}: {error}")),
        });
    }
    findings
}

async fn mongodb(settings: &Settings) -> Vec<Finding> {
    let (uri, database) = (settings.mongodb.uri.expose(), &settings.mongodb.database);
    match Box::pin(Store::new(uri, database)).await {
        Ok(store) => Box::pin(findings(&store, settings.messages.shards)).await,
        Err(error) => vec![Finding::fail("mongodb", error.to_string())],
    }
}

async fn redis(settings: &Settings) -> Vec<Finding> {
    let what = "redis";
    let metrics = match Metrics::new(Clock::system().now()) {
        Ok(metrics) => metrics,
        Err(error) => return vec![Finding::fail(what, error.to_string())],
    };
    let redis = match Redis::new(&settings.redis, &metrics) {
        Ok(redis) => redis,
        Err(error) => return vec![Finding::fail(what, format!("redis.url: {error}"))],
    };
    let report = match redis.report().await {
        Ok(report) => report,
        Err(reason) => return vec![Finding::fail(what, reason)],
    };
    let version = report.version.map_or(String::new(), |version| format!(", Redis {version}"));
    let tls = if settings.redis.url.expose().starts_with("rediss:") { "TLS" } else { "no TLS" };
    let mut findings = vec![Finding::ok(what, format!("answers, {tls}{version}"))];
    let (needed, useful) = (report.missing.needed.join(" "), report.missing.useful.join(" "));
    findings.push(if !needed.is_empty() {
        Finding::fail("redis.rights", format!("missing: {needed} {useful}"))
    } else if !useful.is_empty() {
        let says = format!(
            "{useful} is missing: clients that come back are told more often than needed that \
             they may have missed something"
        );
        Finding::warn("redis.rights", says)
    } else {
        Finding::ok("redis.rights", "the user may do all that natter does")
    });
    if let Some((theirs, ours)) = report.clocks {
        findings.push(compared("redis.clock", theirs.millis() - ours.millis()));
    }
    if let Some(policy) = report.eviction {
        findings.push(Finding::ok("redis.memory", format!("maxmemory-policy is {policy}")));
    }
    findings
}

async fn mail(settings: &Settings) -> Vec<Finding> {
    let what = "mail.url";
    let mailer = match Mailer::new(&settings.mail) {
        Ok(mailer) => mailer,
        Err(error) => return vec![Finding::fail(what, error.to_string())],
    };
    vec![match timeout(MAIL_DEADLINE, Box::pin(mailer.probe())).await {
        Ok(Ok(says)) => Finding::ok(what, says),
        Ok(Err(error)) => Finding::fail(what, error.to_string()),
        Err(_) => Finding::fail(what, "no answer in time"),
    }]
}
