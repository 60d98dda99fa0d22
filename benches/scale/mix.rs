//! The requests: each kind to both sides in turn, the one that goes first changing.

use std::cell::RefCell;
use std::time::Duration;

use futures_util::future::try_join_all;
use http::StatusCode;
use natter::internals::domain::random_bytes;
use serde_json::json;
use tokio::time::Instant;

use super::client::{Answer, Connection};
use super::people::{Person, chance, one_of};
use super::{Options, Result, Side};

/// What is asked of natter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The newest page of a history.
    Newest,
    /// The page before it; where there is none, the newest again.
    Older,
    /// `GET /conversations`
    Inbox,
    /// `POST /messages`
    Send,
    /// `GET /users?q=`
    Search,
    /// `GET /notifications`
    Notifications,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::Newest, Self::Older, Self::Inbox, Self::Send, Self::Search, Self::Notifications];
}

/// What the requests to one side came to.
#[derive(Debug, Default)]
pub struct Tally {
    /// How long each successful one took, by [`Kind`].
    pub times: [Vec<Duration>; Kind::ALL.len()],
    /// What the others got instead.
    pub errors: Vec<String>,
}

/// A connection to each side.
struct Client([Connection; 2]);

/// Makes all requests, several clients at once.
pub async fn run(options: &Options, sides: &[Side; 2]) -> Result<[Tally; 2]> {
    let tallies = RefCell::new([Tally::default(), Tally::default()]);
    let turns = RefCell::new(0..options.requests);
    let working = (0..options.clients).map(async |_| {
        let [large, small] = sides;
        let connections =
            [large.instance.connector.open().await?, small.instance.connector.open().await?];
        let mut client = Client(connections);
        loop {
            let Some(turn) = turns.borrow_mut().next() else { return Ok(()) };
            for (at, kind) in Kind::ALL.into_iter().enumerate() {
                for side in [turn % 2, 1 - turn % 2].map(|side| side as usize) {
                    let asked = client.ask(side, kind, &sides[side].people).await;
                    let tally = &mut tallies.borrow_mut()[side];
                    match asked {
                        Ok(took) => tally.times[at].push(took),
                        Err(error) => tally.errors.push(format!("{kind:?}: {error}")),
                    }
                }
            }
        }
    });
    let worked: Result<Vec<()>> = try_join_all(working).await;
    worked?;
    Ok(tallies.into_inner())
}

impl Client {
    /// One request of someone; how long it took.
    async fn ask(&mut self, side: usize, kind: Kind, people: &[Person]) -> Result<Duration> {
        let person = one_of(people).ok_or("nobody is signed in")?;
        let connection = &mut self.0[side];
        let token = Some(&person.token);
        let history = one_of(&person.histories).ok_or("nobody to write to")?;
        let path = match kind {
            Kind::Send => return send(connection, person).await,
            Kind::Newest => history.clone(),
            Kind::Older => {
                let page = connection.get(&format!("{history}?limit=1"), token).await?;
                let page = page.expect(StatusCode::OK)?;
                let before = page["items"][0]["id"].as_str();
                before.map_or_else(|| history.clone(), |id| format!("{history}?before={id}"))
            }
            Kind::Inbox => "/conversations".to_owned(),
            Kind::Search => format!("/users?q={}", prefix()),
            Kind::Notifications => "/notifications".to_owned(),
        };
        let asked = Instant::now();
        let answer = connection.get(&path, token).await?;
        finished(asked, &answer, StatusCode::OK)
    }
}

async fn send(connection: &mut Connection, person: &Person) -> Result<Duration> {
    let friend = one_of(&person.friends).ok_or("nobody to write to")?;
    let once = format!("{:032x}", u128::from_be_bytes(random_bytes()));
    let text = format!("Shall we meet at the station at half past six? {once}");
    let body = json!({ "recipient_user_id": friend, "message": text, "client_message_id": once });
    let asked = Instant::now();
    let answer = connection.post("/messages", Some(&person.token), &body).await?;
    finished(asked, &answer, StatusCode::CREATED)
}

fn finished(asked: Instant, answer: &Answer, status: StatusCode) -> Result<Duration> {
    let took = asked.elapsed();
    if answer.status == status { Ok(took) } else { Err(answer.refusal().into()) }
}

/// What people type of a name: two to four letters that some names begin with.
fn prefix() -> String {
    let names = ["adat", "brun", "clar", "dani", "emma", "gret", "hana", "juli", "lina", "maria"];
    let name = one_of(&names).copied().unwrap_or("an");
    let letters = if chance() < 0.5 { 2 } else { 3 };
    name.chars().take(letters).collect()
}
