//! The conversations that people have had before they are measured, and whom each talks with.

use http::StatusCode;
use natter::internals::domain::random_bytes;
use serde_json::{Value, json};

use super::common::Result;
use super::common::client::Connector;
use super::common::people::{People, Person, share_out};

/// On either side, the neighbours that each person talks with.
const NEIGHBOURS: usize = 4;

/// How many conversations so many people have.
pub fn conversations(people: usize) -> usize {
    people * NEIGHBOURS
}

/// Fills every conversation with so many messages, and returns how many that were.
pub async fn talk(people: &People, connector: &Connector, each: u32) -> Result<usize> {
    let pairs = (0..people.len()).flat_map(|one| (1..=NEIGHBOURS).map(move |gap| (one, gap)));
    let talks = share_out(connector, pairs, async |connection, (one, gap)| {
        let (one, other) = (people.get(one), people.get(one + gap));
        for turn in 0..each {
            let (from, to) = if turn % 2 == 0 { (one, other) } else { (other, one) };
            let message = message(to);
            let sent = connection.post("/messages", Some(&from.token), &message).await?;
            sent.expect(StatusCode::CREATED)?;
        }
        Ok(())
    });
    Ok(talks.await?.len() * each as usize)
}

/// One of those that the person of this number talks with.
pub fn peer(people: &People, number: usize, pick: u8) -> &Person {
    let gap = usize::from(pick) % (2 * NEIGHBOURS);
    let gap = if gap < NEIGHBOURS { gap + 1 } else { people.len() + NEIGHBOURS - 1 - gap };
    people.get(number + gap)
}

/// A message to someone, with a name of its own as a careful client gives it.
pub fn message(to: &Person) -> Value {
    let once = format!("{:032x}", u128::from_be_bytes(random_bytes()));
    let text = format!("Shall we meet at the station at half past six? The train is late. {once}");
    json!({"recipient_user_id": to.id, "message": text, "client_message_id": once})
}
