//! Three mongods that are one database.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use natter::config::Secret;
use tokio::time::{sleep, timeout};

use super::app::{PATIENCE, TestApp};
use super::servers::{Server, direct, initiate};

/// A replica set of a test's own; its members may be killed, frozen and started again.
pub struct ReplicaSet {
    pub members: Vec<Server>,
}

impl ReplicaSet {
    /// Three members and a primary, which is missed after two seconds.
    pub async fn start() -> Self {
        let mut members = Vec::new();
        for _ in 0..3 {
            members.push(Server::member().await);
        }
        let ports: Vec<u16> = members.iter().map(Server::port).collect();
        initiate(&ports).await;
        let set = Self { members };
        set.whole().await;
        set
    }

    /// As [`start`](Self::start), and an instance that uses it.
    pub async fn with_app() -> (Self, TestApp) {
        let set = Self::start().await;
        let uri = Secret::new(set.uri());
        let app = TestApp::with(|settings| settings.mongodb.uri = uri).await;
        (set, app)
    }

    /// Where natter finds it.
    fn uri(&self) -> String {
        let hosts: Vec<String> =
            self.members.iter().map(|member| format!("127.0.0.1:{}", member.port())).collect();
        format!("mongodb://{}/?replicaSet=rs0", hosts.join(","))
    }

    /// Which member takes writes.
    pub async fn primary(&self) -> usize {
        self.primary_besides(usize::MAX).await
    }

    /// Waits until a member other than this one takes writes.
    pub async fn primary_besides(&self, old: usize) -> usize {
        let waiting = async {
            loop {
                for (at, member) in self.members.iter().enumerate().filter(|(at, _)| *at != old) {
                    if is(member, "isWritablePrimary").await {
                        return at;
                    }
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("a primary")
    }

    /// Waits until one is primary and the others follow it.
    pub async fn whole(&self) {
        let waiting = async {
            loop {
                let (mut primaries, mut followers) = (0, 0);
                for member in &self.members {
                    primaries += u32::from(is(member, "isWritablePrimary").await);
                    followers += u32::from(is(member, "secondary").await);
                }
                if (primaries, followers) == (1, 2) {
                    return;
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("a whole set");
    }
}

/// Whether a member says this of itself within a second.
async fn is(member: &Server, what: &str) -> bool {
    let asking = async {
        let admin = direct(member.port()).await.database("admin");
        admin.run_command(doc! { "hello": 1 }).await
    };
    let hello: Option<Document> =
        timeout(Duration::from_secs(1), asking).await.ok().and_then(Result::ok);
    hello.is_some_and(|hello| hello.get(what) == Some(&Bson::Boolean(true)))
}
