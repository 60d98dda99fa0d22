//! Filling the store with a population.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use super::{Beside, Failure, OtherAccounts};
use crate::config::Settings;
use crate::domain::clock::Clock;
use crate::domain::population::Population;
use crate::services::seed::population::{Populated, Populator, Progress};
use crate::store::Store;
use crate::store::bulk::Bulk;
use crate::store::costs::Costs;
use crate::store::schema;
use crate::store::schema::By;

/// How often a line tells of progress where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Makes a population, or what is missing of it, and reports after each block.
///
/// # Errors
/// The store has another population, is not reachable, or has people of the same names; or
/// [`OtherAccounts`].
pub async fn populate(
    settings: &Settings,
    population: Population,
    beside: Beside,
    report: impl FnMut(Progress),
) -> Result<Populated, Failure> {
    let store = Store::new(settings.mongodb.uri.expose(), &settings.mongodb.database).await?;
    schema::apply(&store, settings.messages.shards, &Clock::system(), By::Start).await?;
    Costs::new(&store).raise(settings.auth.bcrypt_cost).await?;
    let rows = Bulk::new(&store, settings.messages.shards as usize);
    if beside == Beside::OwnAccounts && rows.has_other_accounts().await? {
        return Err(OtherAccounts::in_database(&settings.mongodb.database).into());
    }
    let made = Populator::new(rows, settings.auth.bcrypt_cost).make(population, report).await;
    made.map_err(|error| match std::error::Error::source(&error) {
        Some(source) => format!("{error}: {source}").into(),
        None => error.into(),
    })
}

/// Tells whoever watches stderr how far it is: a bar on a terminal, else a line now and then.
pub struct Reporter {
    bar: Option<ProgressBar>,
    told: Option<Instant>,
}

impl Default for Reporter {
    fn default() -> Self {
        Self::new()
    }
}

impl Reporter {
    /// A bar if stderr is a terminal.
    #[must_use]
    pub fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style =
                "{elapsed_precise} {wide_bar} {percent:>3} % of {human_len} rows, {eta} left";
            let style = ProgressStyle::with_template(style);
            ProgressBar::no_length()
                .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, told: None }
    }

    /// Shows it.
    pub fn show(&mut self, progress: Progress) {
        let Progress { done, of } = progress;
        if let Some(bar) = &self.bar {
            if bar.length().is_none() {
                // What an earlier run made says nothing about how fast this one is.
                bar.set_length(of);
                bar.set_position(done);
                bar.reset_eta();
            }
            bar.set_position(done);
            if done == of {
                bar.finish();
                // It leaves the cursor at its end.
                eprintln!();
            }
        } else if done == of || self.told.is_none_or(|told| told.elapsed() >= LINE_INTERVAL) {
            eprintln!("{done} of {of} rows");
            self.told = Some(Instant::now());
        }
    }
}
