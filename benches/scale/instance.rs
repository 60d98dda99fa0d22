//! A natter on a population of its own, which stays for the next run.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};
use url::Url;

use super::Result;
use super::client::Connector;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(40);

const LIMITS: [&str; 6] = ["AUTH", "READ", "WRITE", "UPLOAD", "SEARCH", "SOCKET"];

/// The process; it goes with this value.
pub struct Instance {
    process: Child,
    pub connector: Connector,
    /// Users and messages.
    pub population: (u32, u32),
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Nobody waits for an answer any more, and what was acknowledged is in the store.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Instance {
    /// Makes the population unless it is there, and starts natter on it. Limits are off, as all
    /// requests come from one address; passwords are cheap, as they are not what is measured.
    pub async fn start(program: &Path, users: u32, messages: u32) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut seed = natter(program, users, messages);
        seed.args(["seed", "--users", &users.to_string(), "--messages", &messages.to_string()]);
        let began = Instant::now();
        if !seed.status()?.success() {
            return Err("the population was not made".into());
        }
        println!(
            "{users} users and {messages} messages there in {:.0} s",
            began.elapsed().as_secs_f64()
        );
        let mut serve = natter(program, users, messages);
        serve.arg("serve").env("NATTER_SERVER__ADDR", format!("127.0.0.1:{port}"));
        serve.env("NATTER_MAIL__URL", "log:").stdin(Stdio::null()).stderr(Stdio::null());
        let process = serve.spawn()?;
        let connector = Connector::new(&Url::parse(&format!("https://127.0.0.1:{port}"))?)?;
        let instance = Self { process, connector, population: (users, messages) };
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Ok(mut connection) = instance.connector.open().await
                && connection.get("/readyz", None).await?.status == StatusCode::OK
            {
                return Ok(instance);
            }
            sleep(Duration::from_millis(100)).await;
        }
        Err("natter was not ready in time".into())
    }
}

/// The program, with the database of this population.
fn natter(program: &Path, users: u32, messages: u32) -> Command {
    let mut command = Command::new(program);
    let name = format!("natter-scale-{users}-{messages}");
    command.env("NATTER_REDIS__PREFIX", format!("{name}:")).env("NATTER_MONGODB__DATABASE", name);
    command.env("NATTER_AUTH__BCRYPT_COST", "4");
    for class in LIMITS {
        command.env(format!("NATTER_LIMITS__{class}"), "off");
    }
    command
}
