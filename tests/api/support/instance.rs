//! A natter as it is deployed: a process of its own, which can be killed.

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::actor::Actor;
use super::app::{PATIENCE, TestApp};

/// How many lines of its log are kept, to be shown when a test fails.
const LOG_LINES: usize = 40;

/// A running process and the way to it; dropping it kills it.
pub struct Instance {
    child: Child,
    http: reqwest::Client,
    log: Arc<Mutex<VecDeque<String>>>,
    /// `https://localhost:port`.
    pub url: String,
}

impl Instance {
    /// Starts one on the stores of a test, with these failpoints (`name=return(kill);…`).
    pub async fn start(app: &TestApp, failpoints: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_natter"));
        command.arg("serve").env_clear().envs(environment(app));
        command.env("FAILPOINTS", failpoints).kill_on_drop(true);
        // A failpoint that sleeps holds one.
        command.env("TOKIO_WORKER_THREADS", "4");
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program");
        let lines = BufReader::new(child.stderr.take().expect("its log")).lines();
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let port = timeout(PATIENCE, listening(lines, log.clone())).await;
        let port = port.ok().flatten().unwrap_or_else(|| panic!("no start: {log:#?}"));
        Self { child, http: app.http(), log, url: format!("https://localhost:{port}") }
    }

    /// The same person, talking to this instance.
    pub fn seen_by(&self, actor: &Actor) -> Actor {
        actor.through(self.http.clone(), self.url.clone())
    }

    /// As [`Instance::seen_by`], through another client.
    pub fn seen_through(&self, http: reqwest::Client, actor: &Actor) -> Actor {
        actor.through(http, self.url.clone())
    }

    /// Ends it at once, as a crash does.
    pub async fn kill(&mut self) {
        self.child.kill().await.expect("a process to kill");
    }

    /// Tells it to stop (SIGTERM).
    pub fn terminate(&self) {
        let id = self.child.id().expect("a running process").to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &id]).status().expect("kill");
        assert!(sent.success(), "kill -TERM");
    }

    /// Waits until it has stopped, as it was told to.
    pub async fn left(&mut self) {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let log = self.log.lock();
        let ended = ended.unwrap_or_else(|_| panic!("does not stop: {log:#?}"));
        assert!(ended.expect("a status").success(), "{log:#?}");
    }

    /// Waits until it has ended itself at a failpoint.
    pub async fn died(&mut self, at: &str) {
        let ended = timeout(PATIENCE, self.child.wait()).await;
        let log = self.log.lock();
        let ended = ended.unwrap_or_else(|_| panic!("{at} was never reached: {log:#?}"));
        let signal = ended.expect("a status").signal();
        assert_eq!(signal, Some(6), "ended in another way than at {at}: {log:#?}");
    }
}

/// Reads the log up to the port that it says, and leaves someone reading the rest.
async fn listening(
    mut lines: Lines<BufReader<ChildStderr>>,
    log: Arc<Mutex<VecDeque<String>>>,
) -> Option<String> {
    let keep = move |line: String| {
        let mut log = log.lock();
        log.push_back(line);
        if log.len() > LOG_LINES {
            log.pop_front();
        }
    };
    while let Ok(Some(line)) = lines.next_line().await {
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        keep(line);
        if event["event"] == "listening" {
            tokio::spawn(async move {
                while let Ok(Some(line)) = lines.next_line().await {
                    keep(line);
                }
            });
            return event["addr"].as_str()?.rsplit(':').next().map(str::to_owned);
        }
    }
    None
}

/// The settings of a test's instances, for another process.
pub fn environment(app: &TestApp) -> Vec<(String, String)> {
    let (settings, mail) = (app.settings(), format!("file://{}", app.mail_dir().display()));
    let [delay, drain] = [settings.server.drain_delay_seconds, settings.server.drain_seconds]
        .map(|time| time.as_secs().to_string());
    let mut set = vec![
        ("SERVER__ADDR", "127.0.0.1:0"),
        ("SERVER__DRAIN_DELAY_SECONDS", &delay),
        ("SERVER__DRAIN_SECONDS", &drain),
        ("MONGODB__URI", settings.mongodb.uri.expose()),
        ("MONGODB__DATABASE", &settings.mongodb.database),
        ("REDIS__URL", settings.redis.url.expose()),
        ("REDIS__PREFIX", &settings.redis.prefix),
        ("AUTH__BCRYPT_COST", "4"),
        ("MAIL__URL", &mail),
        ("LOG__FORMAT", "json"),
    ];
    for class in ["AUTH", "READ", "WRITE", "UPLOAD", "SEARCH", "SOCKET"] {
        set.push((class, "off"));
    }
    let name = |name: &str| {
        let section = if name.contains("__") { "" } else { "LIMITS__" };
        format!("NATTER_{section}{name}")
    };
    set.into_iter().map(|(key, value)| (name(key), value.to_owned())).collect()
}
