//! The accounts that the load comes from.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use http::{HeaderValue, StatusCode};
use natter::internals::domain::random_bytes;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::Result;
use super::client::{Connection, Connector};

/// How many connections the preparation uses.
const LANES: usize = 32;

/// How long all verification mails together may take.
const MAIL_PATIENCE: Duration = Duration::from_mins(2);

const PASSWORD: &str = "correct horse battery staple";

/// A signed-in account.
pub struct Person {
    pub id: String,
    /// The value of its `Authorization` header.
    pub token: HeaderValue,
}

/// All of them, in a circle.
#[derive(Clone)]
pub struct People(Arc<[Person]>);

impl People {
    /// Signs up, verifies and signs in so many through the API.
    pub async fn sign_up(connector: &Connector, mails: &Path, count: usize) -> Result<Self> {
        let run = format!("load-{:08x}", u32::from_be_bytes(random_bytes()));
        let name = |number: usize| format!("{run}-{number}");
        share_out(connector, 0..count, async |connection, number| {
            let (username, email) = (name(number), address(&name(number)));
            let body = json!({"username": username, "email": email, "password": PASSWORD});
            connection.post("/signup", None, &body).await?.expect(StatusCode::CREATED)
        })
        .await?;
        let expected: HashSet<String> = (0..count).map(|number| address(&name(number))).collect();
        let tokens = timeout(MAIL_PATIENCE, mailed(mails, &expected)).await;
        let tokens = tokens.map_err(|_| "the verification mails did not come")??;
        let people = share_out(connector, tokens, async |connection, (email, token)| {
            let verified = connection.post("/verify", None, &json!({"token": token})).await?;
            verified.expect(StatusCode::OK)?;
            let body = json!({"email": email, "password": PASSWORD});
            person(&connection.post("/login", None, &body).await?.expect(StatusCode::OK)?)
        });
        Ok(Self(people.await?.into()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The person of this number, counted round the circle.
    pub fn get(&self, number: usize) -> &Person {
        &self.0[number % self.0.len()]
    }
}

fn address(name: &str) -> String {
    format!("{name}@example.com")
}

fn person(login: &Value) -> Result<Person> {
    let (Some(id), Some(token)) = (login["user"]["id"].as_str(), login["access_token"].as_str())
    else {
        return Err("an answer to POST /login without user or token".into());
    };
    Ok(Person { id: id.to_owned(), token: HeaderValue::from_str(&format!("Bearer {token}"))? })
}

/// Waits for a mail to each of these addresses, and returns the token in each.
async fn mailed(mails: &Path, expected: &HashSet<String>) -> Result<HashMap<String, String>> {
    let mut seen: HashSet<PathBuf> = HashSet::new();
    let mut tokens = HashMap::new();
    loop {
        for file in std::fs::read_dir(mails)? {
            let path = file?.path();
            if path.extension() != Some("eml".as_ref()) || !seen.insert(path.clone()) {
                continue;
            }
            let mail = std::fs::read_to_string(path)?;
            let to = mail.lines().find_map(|line| line.strip_prefix("To: "));
            let token = mail.split_once("?token=").and_then(|(_, rest)| rest.lines().next());
            if let (Some(to), Some(token)) = (to.filter(|to| expected.contains(*to)), token) {
                tokens.insert(to.to_owned(), token.to_owned());
            }
        }
        if tokens.len() == expected.len() {
            return Ok(tokens);
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Does the work for every item over a few connections at once; the results come in any order.
pub async fn share_out<I, T>(
    connector: &Connector,
    items: impl IntoIterator<Item = I>,
    work: impl AsyncFn(&mut Connection, I) -> Result<T>,
) -> Result<Vec<T>> {
    let items = RefCell::new(items.into_iter());
    let lanes = (0..LANES).map(async |_| {
        let mut connection = connector.open().await?;
        let mut done = Vec::new();
        loop {
            let next = items.borrow_mut().next();
            let Some(item) = next else { return Ok(done) };
            done.push(work(&mut connection, item).await?);
        }
    });
    let done: Result<Vec<Vec<T>>> = try_join_all(lanes).await;
    Ok(done?.into_iter().flatten().collect())
}
