//! Those who are signed in, and where they write.

use http::{HeaderValue, StatusCode};
use natter::internals::domain::random_bytes;
use natter::internals::services::{PASSWORD, address};
use serde_json::{Value, json};

use super::Result;
use super::client::{Connection, Connector};

/// Someone who is signed in.
pub struct Person {
    /// The value of the `Authorization` header.
    pub token: HeaderValue,
    /// Friends, by id.
    pub friends: Vec<String>,
    /// Paths of histories: with friends, and of groups.
    pub histories: Vec<String>,
}

/// From 0 up to 1.
pub fn chance() -> f64 {
    f64::from(u32::from_be_bytes(random_bytes())) / 4_294_967_296.0
}

/// One of some things.
pub fn one_of<T>(things: &[T]) -> Option<&T> {
    let pick = u64::from_be_bytes(random_bytes()) % things.len().max(1) as u64;
    things.get(usize::try_from(pick).ok()?)
}

/// Signs in so many of a population's users, spread over all of them by how busy they are, so that
/// those of another population have the same places in it; and finds out where they write. Of
/// those, the ones with a friend count.
pub async fn sign_in(connector: &Connector, users: u32, count: u32) -> Result<Vec<Person>> {
    let mut connection = connector.open().await?;
    let mut people = Vec::new();
    for number in 0..count {
        let unit = (f64::from(number) + 0.5) / f64::from(count);
        let body =
            json!({ "email": address(part(users, unit * unit * unit)), "password": PASSWORD });
        let login = connection.post("/login", None, &body).await?.expect(StatusCode::OK)?;
        let token = login["access_token"].as_str().unwrap_or_default();
        let token = HeaderValue::from_str(&format!("Bearer {token}"))?;
        let friends = ids(&mut connection, &token, "/friends?limit=100", "/user/id").await?;
        let groups = ids(&mut connection, &token, "/groups?limit=100", "/id").await?;
        if friends.is_empty() {
            continue;
        }
        let direct = friends.iter().map(|friend| format!("/messages/{friend}"));
        let groups = groups.iter().map(|group| format!("/conversations/{group}/messages"));
        let histories = direct.chain(groups).collect();
        people.push(Person { token, friends, histories });
    }
    Ok(people)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below `of`")]
fn part(of: u32, unit: f64) -> u32 {
    (f64::from(of) * unit) as u32
}

async fn ids(
    connection: &mut Connection,
    token: &HeaderValue,
    list: &str,
    pointer: &str,
) -> Result<Vec<String>> {
    let page = connection.get(list, Some(token)).await?.expect(StatusCode::OK)?;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    let id = |item: &Value| item.pointer(pointer)?.as_str().map(str::to_owned);
    Ok(items.iter().filter_map(id).collect())
}
