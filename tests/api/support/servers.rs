//! Servers of one test's own, to be stopped, frozen and started again.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mongodb::bson::{Document, doc};
use natter::internals::domain::random_bytes;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::app::{PATIENCE, service};

/// A process on a port of its own, with a directory that goes with it.
pub struct Server {
    program: String,
    arguments: Vec<String>,
    child: Option<Child>,
    directory: PathBuf,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    /// A mongod, the only member of its replica set.
    pub async fn mongod() -> Self {
        Self::mongod_with(&["--oplogSize=128"]).await
    }

    /// The same with an oplog as short as can be, which forgets within seconds.
    pub async fn forgetful_mongod() -> Self {
        Self::mongod_with(&["--oplogSize=1", "--syncdelay=1"]).await
    }

    /// A mongod that asks who one is; the user `root` (password `root`) may do everything.
    pub async fn guarded_mongod() -> Self {
        let name = format!("natter-key-{}", u64::from_be_bytes(random_bytes()));
        let key = std::env::temp_dir().join(name);
        std::fs::write(&key, "natter natter natter").expect("a key file");
        let only_own = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&key, only_own).expect("its permissions");
        let server =
            Self::mongod_with(&["--oplogSize=128", &format!("--keyFile={}", key.display())]).await;
        std::fs::remove_file(&key).expect("removed");
        let root = doc! { "createUser": "root", "pwd": "root", "roles": ["root"] };
        direct(server.port).await.database("admin").run_command(root).await.expect("a user");
        server
    }

    async fn mongod_with(more: &[&str]) -> Self {
        let server = Self::member_with(more).await;
        initiate(&[server.port]).await;
        server
    }

    /// A mongod of its own, in no replica set.
    pub async fn single_mongod() -> Self {
        let mut server = Self::member().await;
        server.kill();
        server.arguments.retain(|argument| argument != "--replSet=rs0");
        server.start().await;
        server
    }

    /// A mongod that is to be a member of a replica set.
    pub async fn member() -> Self {
        Self::member_with(&["--oplogSize=128"]).await
    }

    async fn member_with(more: &[&str]) -> Self {
        let (directory, port) = place();
        let mut server = Self {
            program: service("NATTER_TEST_MONGOD"),
            arguments: [
                &format!("--dbpath={}", directory.display()),
                &format!("--logpath={}/log", directory.display()),
                &format!("--port={port}"),
                "--replSet=rs0",
                "--bind_ip=127.0.0.1",
                "--nounixsocket",
                "--wiredTigerCacheSizeGB=0.25",
                "--setParameter=diagnosticDataCollectionEnabled=false",
                // Whoever is killed leaves transactions open.
                "--setParameter=transactionLifetimeLimitSeconds=5",
                // After SIGTERM it would serve others for 15 s.
                "--setParameter=shutdownTimeoutMillisForSignaledShutdown=500",
                // For configureFailPoint.
                "--setParameter=enableTestCommands=1",
            ]
            .map(str::to_owned)
            .into_iter()
            .chain(more.iter().map(|argument| (*argument).to_owned()))
            .collect(),
            child: None,
            directory,
            port,
        };
        server.start().await;
        server
    }

    /// A Redis that keeps nothing.
    pub async fn redis() -> Self {
        let (directory, port) = place();
        let mut server = Self {
            program: service("NATTER_TEST_REDIS_SERVER"),
            arguments: ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]
                .map(str::to_owned)
                .to_vec(),
            child: None,
            directory,
            port,
        };
        server.start().await;
        server
    }

    /// A Redis that talks TLS only, with this certificate and key (PEM files).
    pub async fn redis_with_tls(cert: &std::path::Path, key: &std::path::Path) -> Self {
        let (directory, port) = place();
        let port_text = port.to_string();
        let (cert, key) = (cert.display().to_string(), key.display().to_string());
        let arguments = [
            ["--port", "0"],
            ["--tls-port", &port_text],
            ["--bind", "127.0.0.1"],
            ["--save", ""],
            ["--tls-cert-file", &cert],
            ["--tls-key-file", &key],
            ["--tls-ca-cert-file", &cert],
            ["--tls-auth-clients", "no"],
        ];
        let mut server = Self {
            program: service("NATTER_TEST_REDIS_SERVER"),
            arguments: arguments.concat().into_iter().map(str::to_owned).collect(),
            child: None,
            directory,
            port,
        };
        server.start().await;
        server
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where to find it, under this scheme.
    pub fn url(&self, scheme: &str) -> String {
        let query = if scheme == "mongodb" { "/?replicaSet=rs0" } else { "" };
        format!("{scheme}://127.0.0.1:{}{query}", self.port)
    }

    /// Starts it, on what it had, and waits until it listens.
    pub async fn start(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(&self.directory);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(child.spawn().expect("a server"));
        let listens = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, listens).await.expect("a listening server");
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Tells it to stop, and waits until it has.
    pub async fn stop(&mut self) {
        self.signal("-TERM");
        let mut child = self.child.take().expect("a running server");
        let ended = async {
            while child.try_wait().expect("a child").is_none() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, ended).await.expect("an end");
    }

    /// Leaves it there, answering nothing.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("a running server").id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().expect("kill");
        assert!(sent.success(), "kill {signal}");
    }
}

fn place() -> (PathBuf, u16) {
    let name = format!("natter-server-{}", u64::from_be_bytes(random_bytes()));
    let directory = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&directory).expect("a directory");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    (directory, free.local_addr().expect("an address").port())
}

/// A client of this very server, whatever it is a member of.
pub async fn direct(port: u16) -> mongodb::Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let uri = format!("mongodb://127.0.0.1:{port}/?directConnection=true");
    mongodb::Client::with_uri_str(uri).await.expect("a client")
}

/// Makes these servers a replica set, and waits until one of them can be written to.
pub async fn initiate(ports: &[u16]) {
    let mut clients = Vec::new();
    for port in ports {
        clients.push(direct(*port).await.database("admin"));
    }
    let member = |(id, port): (usize, &u16)| {
        doc! { "_id": i32::try_from(id).unwrap_or_default(), "host": format!("127.0.0.1:{port}") }
    };
    let members: Vec<Document> = ports.iter().enumerate().map(member).collect();
    let settings = doc! { "electionTimeoutMillis": 2000 };
    let set = doc! { "_id": "rs0", "members": members, "settings": settings };
    let initiated: Document =
        clients[0].run_command(doc! { "replSetInitiate": set }).await.expect("a replica set");
    assert!(initiated.contains_key("ok"));
    let elected = async {
        loop {
            for client in &clients {
                let hello = client.run_command(doc! { "hello": 1 }).await;
                if hello.is_ok_and(|it| it.get_bool("isWritablePrimary").unwrap_or(false)) {
                    return;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, elected).await.expect("a primary");
}
