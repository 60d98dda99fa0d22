//! The census of jobs: how many there are of each kind, bounded.

use mongodb::bson::{Document, doc};
use serde::Deserialize;

use super::{Jobs, NAME, State, stored};
use crate::domain::clock::Timestamp;
use crate::domain::jobs::{JobCount, JobState};
use crate::error::Result;
use crate::store::bson::optional_date;

/// Jobs of one kind and stored state that are counted; further ones are not.
const MAX_COUNTED: i64 = 10_000;

/// Counted jobs.
#[derive(Debug, Deserialize)]
struct Counted {
    #[serde(rename = "_id")]
    key: CountKey,
    count: i64,
    #[serde(with = "optional_date", default)]
    first_due: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct CountKey {
    kind: String,
    state: State,
}

impl Jobs<'_> {
    /// How many jobs of these kinds are in each state, up to [`MAX_COUNTED`] of each stored state.
    pub async fn count(self, kinds: &[&str]) -> Result<Vec<JobCount>> {
        let states = JobState::ALL.into_iter().flat_map(stored);
        let each = states.flat_map(|state| kinds.iter().map(move |kind| counting(kind, state)));
        let mut each = each.collect::<Vec<_>>().into_iter();
        let Some(mut pipeline) = each.next() else { return Ok(Vec::new()) };
        pipeline.extend(each.map(|pipeline| {
            doc! { "$unionWith": { "coll": NAME, "pipeline": pipeline } }
        }));
        let counted = self.0.of::<Counted>().aggregate(pipeline).await?;
        let count = |counted: Counted| JobCount {
            kind: counted.key.kind,
            state: counted.key.state.shown(),
            count: counted.count.try_into().unwrap_or(0),
            first_due: counted.first_due,
        };
        Ok(counted.into_iter().map(count).collect())
    }
}

/// Counts jobs of one kind and stored state by the index `due`, up to [`MAX_COUNTED`].
fn counting(kind: &str, state: &str) -> Vec<Document> {
    vec![
        doc! { "$match": { "kind": kind, "state": state } },
        doc! { "$sort": { "due_at": 1 } },
        doc! { "$limit": MAX_COUNTED },
        doc! { "$group": {
            "_id": { "kind": "$kind", "state": "$state" },
            "count": { "$sum": 1_i64 },
            "first_due": { "$min": "$due_at" },
        } },
    ]
}
