//! The scale tool: the same requests to a large population and to one a hundredth of it, side by
//! side, so that whatever disturbs the machine disturbs both.
//!
//! `cargo bench --bench scale` seeds two databases of the MongoDB of `NATTER_MONGODB__URI`, or
//! takes them as an earlier run left them, starts a natter on each, and prints a table; `-- --help`
//! lists the options. Errors, of which there must be none, end it with exit code 1.

#[path = "../common/client.rs"]
mod client;
mod instance;
mod mix;
mod people;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use natter::app::Failure;

use instance::Instance;
use mix::Tally;
use people::Person;

type Result<T> = std::result::Result<T, Failure>;

/// Compares natter on a large database with natter on a small one.
#[derive(Debug, Parser)]
#[command(name = "scale")]
struct Options {
    /// People of the large database.
    #[arg(long, default_value_t = 1_000_000)]
    users: u32,
    /// Their messages.
    #[arg(long, default_value_t = 5_000_000)]
    messages: u32,
    /// How many times smaller the other one is.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    factor: u32,
    /// Requests of each kind to each of the two.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..))]
    requests: u32,
    /// Requests under way at once.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    clients: u32,
    /// People that sign in on each side, the busier the likelier.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=5000))]
    people: u32,
    /// Another natter than the one that cargo has built for this.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_natter"))]
    natter: PathBuf,
    /// What cargo says when it is to be measured.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A database, the natter on it, and those who are signed in there.
struct Side {
    instance: Instance,
    people: Vec<Person>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("scale: measures only when run by `cargo bench --bench scale`");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(errors) => {
            eprintln!("scale: {errors} errors");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("scale: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many errors there were.
#[tokio::main]
async fn run(options: &Options) -> Result<usize> {
    // Fails only when one is installed already, which is then the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Options { users, messages, factor, .. } = options;
    let (users, messages, factor) = (*users, *messages, *factor);
    let large = side(options, users, messages).await?;
    let small = side(options, users / factor, messages / factor).await?;
    let sides = [large, small];
    report::machine("before");
    let tallies: [Tally; 2] = mix::run(options, &sides).await?;
    report::machine("after");
    report::table(&sides.each_ref().map(|side| side.instance.population), &tallies);
    Ok(tallies.iter().map(|tally| tally.errors.len()).sum())
}

async fn side(options: &Options, users: u32, messages: u32) -> Result<Side> {
    let instance = Instance::start(&options.natter, users, messages).await?;
    let people = people::sign_in(&instance.connector, users, options.people).await?;
    Ok(Side { instance, people })
}
