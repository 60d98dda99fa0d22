//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::LoadOptions;
use crate::domain::ids::JobId;
use crate::domain::population::Population;

/// A chat backend in one binary, on MongoDB and Redis.
#[derive(Parser)]
#[command(name = "natter", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    sources: Sources,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that may stand before and after every command.
///
/// Not clap's `global`: with that, a `--set` after the command silently discards those before.
#[derive(Args, Clone, Default)]
pub struct Sources {
    /// File with settings (TOML); `NATTER_CONFIG` names one too
    #[arg(long, value_name = "PATH")]
    config: Option<PathBuf>,
    /// One setting, as in `--set server.addr=127.0.0.1:8443`; may be repeated
    #[arg(long, value_name = "SECTION.NAME=VALUE")]
    set: Vec<String>,
}

/// What natter can do.
#[derive(Subcommand)]
pub enum Command {
    /// Serve until told to stop (SIGTERM, SIGINT)
    Serve(Sources),
    /// Compare collections and indexes of the store with their definitions
    Indexes {
        /// What to do about differences
        action: Indexes,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it as help")]
        sources: Sources,
    },
    /// Fill the store with made-up people, groups and messages; again changes nothing
    Seed {
        /// Name of a fixture, as `demo`, or a directory with one
        #[arg(required_unless_present = "users", conflicts_with = "users")]
        fixture: Option<PathBuf>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it as help")]
        crowd: Option<Crowd>,
        /// Fill it even if it has other accounts; everyone knows the passwords of made-up people
        #[arg(long)]
        beside_real_accounts: bool,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it as help")]
        sources: Sources,
    },
    /// Try settings, certificates, stores and mail, and print a line for each; exit code 0 if
    /// natter would work. Changes nothing: what to run first
    Check(Sources),
    /// Ask the instance on this machine whether it is alive; exit code 0 if it is
    Healthcheck(Sources),
    /// List background jobs; retry or delete those that were given up
    Jobs {
        /// The action
        #[command(subcommand)]
        action: JobsAction,
    },
    /// Print the OpenAPI document of the HTTP interface; needs no settings
    Openapi,
    /// Print the AsyncAPI document of sockets and their frames; needs no settings
    Asyncapi,
}

/// Actions on background jobs.
#[derive(Subcommand)]
pub enum JobsAction {
    /// Print a line for each job: id, kind, state, runs, when it was enqueued, when it is due or
    /// died, why the last run failed
    List {
        /// Only those that were given up
        #[arg(long)]
        dead: bool,
        /// Only those of this kind
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        /// Print so many at most
        #[arg(long, default_value_t = 1000)]
        limit: usize,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it as help")]
        sources: Sources,
    },
    /// Run jobs again that were given up
    Retry {
        /// The id of one, as `list` prints it
        #[arg(required_unless_present = "kind", conflicts_with = "kind")]
        id: Option<JobId>,
        /// All of this kind
        #[arg(long, value_name = "KIND")]
        kind: Option<String>,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it as help")]
        sources: Sources,
    },
    /// Delete a job, whatever its state
    Delete {
        /// Its id, as `list` prints it
        id: JobId,
        #[command(flatten)]
        #[expect(missing_docs, reason = "clap would show it as help")]
        sources: Sources,
    },
}

impl JobsAction {
    fn sources(&self) -> &Sources {
        match self {
            Self::List { sources, .. }
            | Self::Retry { sources, .. }
            | Self::Delete { sources, .. } => sources,
        }
    }
}

/// Instead of a fixture, a population of any size. Stopped halfway, it goes on where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub struct Crowd {
    /// Make up so many people, who write to each other
    #[arg(long, value_parser = clap::value_parser!(u32).range(2..=100_000_000))]
    users: u32,
    /// How many messages they have written
    #[arg(long, default_value_t = 0)]
    messages: u32,
    /// The same number makes the same people and messages
    #[arg(long, default_value_t = 1)]
    random_seed: u32,
}

impl From<Crowd> for Population {
    fn from(crowd: Crowd) -> Self {
        let Crowd { users, messages, random_seed } = crowd;
        Self { users, messages, random_seed }
    }
}

/// What to do about indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Indexes {
    /// Print what `apply` would do
    Plan,
    /// Make what is missing; nothing is dropped
    Apply,
}

impl Cli {
    /// Sources of settings: the options on either side of the command, and the environment of
    /// the process.
    #[must_use]
    pub fn load_options(&self) -> LoadOptions {
        let before = &self.sources;
        let none = Sources::default();
        let after = match &self.command {
            Command::Serve(after)
            | Command::Indexes { sources: after, .. }
            | Command::Seed { sources: after, .. }
            | Command::Check(after)
            | Command::Healthcheck(after) => after,
            Command::Jobs { action } => action.sources(),
            Command::Openapi | Command::Asyncapi => &none,
        };
        let config = after.config.as_ref().or(before.config.as_ref());
        let set = before.set.iter().chain(&after.set);
        LoadOptions::from_process(config.cloned(), set.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    fn refused(line: &str) -> ErrorKind {
        parse(line).err().unwrap().kind()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_are_read() {
        let command = |line| parse(line).unwrap().command;
        assert!(matches!(command("natter serve"), Command::Serve(_)));
        let action = |line| match command(line) {
            Command::Indexes { action, .. } => action,
            _ => panic!("{line} is about indexes"),
        };
        assert_eq!(action("natter indexes plan"), Indexes::Plan);
        assert_eq!(action("natter indexes apply"), Indexes::Apply);
        let seed = |line| match command(line) {
            Command::Seed { fixture, crowd, .. } => (fixture, crowd.map(Population::from)),
            _ => panic!("{line} is about seeds"),
        };
        assert_eq!(seed("natter seed demo"), (Some("demo".into()), None));
        let beside = |line| match command(line) {
            Command::Seed { beside_real_accounts, .. } => beside_real_accounts,
            _ => panic!("{line} is about seeds"),
        };
        assert!(!beside("natter seed demo"));
        assert!(beside("natter seed demo --beside-real-accounts"));
        assert!(beside("natter seed --users 9 --beside-real-accounts"));
        let population = Population { users: 9, messages: 20, random_seed: 1 };
        assert_eq!(seed("natter seed --users 9 --messages 20"), (None, Some(population)));
        assert!(matches!(command("natter check"), Command::Check(_)));
        assert!(matches!(command("natter healthcheck"), Command::Healthcheck(_)));
    }

    #[test]
    fn options_may_stand_on_either_side() {
        for line in [
            "natter --config /c --set a.b=1 --set a.c=2 serve",
            "natter serve --config /c --set a.b=1 --set a.c=2",
        ] {
            let options = parse(line).unwrap().load_options();
            assert_eq!(options.file, Some("/c".into()));
            assert_eq!(options.set, ["a.b=1", "a.c=2"]);
        }
        let options = parse("natter --set a.b=1 serve --set a.c=2").unwrap().load_options();
        assert_eq!(options.set, ["a.b=1", "a.c=2"]);
    }

    #[test]
    fn anything_else_is_refused_or_explained() {
        assert_eq!(refused("natter"), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
        assert_eq!(refused("natter --version"), ErrorKind::DisplayVersion);
        assert_eq!(refused("natter indexes"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refused("natter indexes drop"), ErrorKind::InvalidValue);
        assert_eq!(refused("natter run"), ErrorKind::InvalidSubcommand);
        assert_eq!(refused("natter seed"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refused("natter seed --messages 9"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refused("natter jobs"), ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
        assert_eq!(refused("natter jobs retry"), ErrorKind::MissingRequiredArgument);
        assert_eq!(refused("natter jobs delete 7"), ErrorKind::ValueValidation);
        assert_eq!(refused("natter seed demo --users 9"), ErrorKind::ArgumentConflict);
        assert_eq!(refused("natter seed --users 1"), ErrorKind::ValueValidation);
    }
}
