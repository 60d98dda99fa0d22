//! A natter of the load tool's own: a process apart, with a database that goes with it.

use std::fs;
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use http::StatusCode;
use natter::internals::domain::random_bytes;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::client::Connector;
use super::{Result, report};

/// How long it may take to start; and to stop, its own 30 s for requests under way included.
const PATIENCE: Duration = Duration::from_secs(40);

const LIMITS: [&str; 6] = ["AUTH", "READ", "WRITE", "UPLOAD", "SEARCH", "SOCKET"];

/// The process and its directory, with its log and its mails.
pub struct Instance {
    process: Child,
    url: Url,
    mongodb: String,
    name: String,
    directory: PathBuf,
    /// Bytes of its log that are about its start, such as the warning of its own certificate.
    logged: usize,
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Has ended already, unless this is a panic.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Instance {
    /// Starts it. Limits are off, as all load comes from one address; passwords are cheap, as
    /// their cost is not what is measured. All else is as natter comes.
    pub fn start() -> Result<Self> {
        let mongodb = service("NATTER_MONGODB__URI")?;
        let redis = service("NATTER_REDIS__URL")?;
        let name = format!("natter-load-{:016x}", u64::from_be_bytes(random_bytes()));
        let directory = std::env::temp_dir().join(&name);
        fs::create_dir_all(directory.join("mails"))?;
        // Free now, and so in all likelihood in a moment.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_natter"));
        command
            .arg("serve")
            .env("NATTER_SERVER__ADDR", format!("127.0.0.1:{port}"))
            .env("NATTER_MONGODB__URI", &mongodb)
            .env("NATTER_MONGODB__DATABASE", &name)
            .env("NATTER_REDIS__URL", redis)
            .env("NATTER_REDIS__PREFIX", format!("{name}:"))
            .env("NATTER_AUTH__BCRYPT_COST", "4")
            .env("NATTER_MAIL__URL", format!("file://{}/mails", directory.display()))
            .env("NATTER_LOG__FORMAT", "json")
            .stdin(Stdio::null())
            .stderr(File::create(directory.join("log"))?);
        for class in LIMITS {
            command.env(format!("NATTER_LIMITS__{class}"), "off");
        }
        let url = Url::parse(&format!("https://127.0.0.1:{port}"))?;
        let process = command.spawn()?;
        Ok(Self { process, url, mongodb, name, directory, logged: 0 })
    }

    /// Waits until it takes requests.
    pub async fn ready(&mut self) -> Result<Connector> {
        let connector = Connector::new(&self.url)?;
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("natter does not start: {status}").into());
            }
            if let Ok(mut connection) = connector.open().await
                && connection.get("/readyz", None).await?.status == StatusCode::OK
            {
                self.logged = fs::read(self.log())?.len();
                return Ok(connector);
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err("natter was not ready in time".into())
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The directory that its mails go to.
    pub fn mails(&self) -> PathBuf {
        self.directory.join("mails")
    }

    fn log(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// Stops it by SIGTERM and drops its database. Prints the warnings and errors that it
    /// logged; the whole log stays where `keep_log` says so, or it did not end well.
    pub async fn stop(mut self, keep_log: bool) -> Result<()> {
        let began = Instant::now();
        let status = self.end().await;
        let took = began.elapsed().as_secs_f64();
        let dropped = timeout(PATIENCE, drop_database(&self.mongodb, &self.name)).await;
        let log = fs::read_to_string(self.log())?;
        let complaints = complaints(&log[self.logged..]);
        report::often(&complaints);
        let status = status?;
        let count = complaints.len();
        println!("natter: {count} warnings and errors logged; stopped in {took:.2} s, {status}");
        if keep_log || !status.success() {
            println!("natter: its log is {}", self.log().display());
        } else {
            fs::remove_dir_all(&self.directory)?;
        }
        dropped.map_err(|_| "the database was not dropped in time")??;
        if status.success() { Ok(()) } else { Err("natter did not end well".into()) }
    }

    async fn end(&mut self) -> Result<ExitStatus> {
        if self.process.try_wait()?.is_none() {
            Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        }
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > end {
                self.process.kill()?;
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn service(name: &str) -> Result<String> {
    let missing = |_| format!("{name} is not set: say which server to use").into();
    std::env::var(name).map_err(missing)
}

async fn drop_database(uri: &str, name: &str) -> Result<()> {
    let client = mongodb::Client::with_uri_str(uri).await?;
    Ok(client.database(name).drop().await?)
}

/// The lines of a log that are warnings or worse, without what differs in each; or no JSON at all.
fn complaints(log: &str) -> Vec<String> {
    let complaint = |text: &str| {
        let Ok(Value::Object(mut line)) = serde_json::from_str(text) else {
            return Some(text.to_owned());
        };
        for each in ["timestamp", "request_id", "user", "ms", "path"] {
            line.remove(each);
        }
        let is_one = ["WARN", "ERROR"].contains(&line.get("level")?.as_str()?);
        is_one.then(|| Value::Object(line).to_string())
    };
    log.lines().filter_map(complaint).collect()
}
