//! The load tool: many TLS connections, all open at once, reading and sending through a real natter.
//!
//! `cargo bench --bench load` starts an instance of its own, a process apart, on the MongoDB and
//! Redis of `NATTER_MONGODB__URI` and `NATTER_REDIS__URL`, and prints tables; `-- --help` lists the
//! options. Errors, of which there must be none, end it with exit code 1.

#[path = "../common/mod.rs"]
mod common;
mod hangups;
mod memory;
mod mix;
mod report;
mod talks;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::time::Instant;

use common::Result;
use common::client::Connector;
use common::instance::Instance;
use common::machine::{Usage, check_open_files};
use common::people::People;
use common::report::{machine, memory, opened};
use mix::{Client, Phase};

/// Drives natter over many TLS connections at once.
#[derive(Debug, Parser)]
#[command(name = "load")]
struct Options {
    /// TLS connections, all open at once.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Accounts; the connections are spread over them.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(10..=5000))]
    users: u32,
    /// Messages that each conversation begins with.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    history: u32,
    /// Seconds of each of the two measurements.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Milliseconds that a connection waits between two requests, on average, when paced.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    think: u64,
    /// Rounds in which all clients hang up at once with a request under way, in each of four
    /// ways; 0 leaves out the freezing of MongoDB as well.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=100))]
    hang_ups: u32,
    /// A natter on this machine that runs already, its limits off: `https://localhost:8443`.
    #[arg(long, requires = "mails")]
    url: Option<url::Url>,
    /// The directory that the natter of --url writes its mails to (`mail.url`).
    #[arg(long, requires = "url")]
    mails: Option<PathBuf>,
    /// Attack an instance's memory instead: silent connections, unread downloads, image bombs.
    #[arg(long)]
    memory: bool,
    /// What cargo says when it is to be measured.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("load: measures only when run by `cargo bench --bench load`");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(errors) => {
            eprintln!("load: {errors} errors");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many errors there were.
#[tokio::main]
async fn run(options: &Options) -> Result<usize> {
    // Fails only when one is installed already, which is then the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let connections = if options.memory { 10_000 } else { options.connections };
    check_open_files(u64::from(connections))?;
    machine("before");
    if let (Some(url), Some(mails)) = (&options.url, &options.mails) {
        let connector = Connector::new(url)?;
        return measure(options, &connector, mails, None).await;
    }
    let mut instance = Instance::start()?;
    let measured = tokio::select! {
        measured = async {
            let connector = instance.ready().await?;
            if options.memory {
                return memory::attack(&connector, &instance.mails(), Some(instance.pid())).await;
            }
            measure(options, &connector, &instance.mails(), Some(instance.pid())).await
        } => measured,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    let stopped = instance.stop(!matches!(measured, Ok(0))).await;
    measured.and_then(|errors| stopped.map(|()| errors))
}

async fn measure(
    options: &Options,
    connector: &Connector,
    mails: &std::path::Path,
    server: Option<u32>,
) -> Result<usize> {
    let began = Instant::now();
    let people = People::sign_up(connector, mails, options.users as usize).await?;
    let messages = talks::talk(&people, connector, options.history).await?;
    report::prepared(people.len(), messages, began.elapsed());
    memory(server, "before the connections");
    let began = Instant::now();
    let (mut clients, connects) = Client::open(connector, &people, options.connections).await?;
    opened("TLS connections, opened at once, all open and answered", began.elapsed(), connects);
    memory(server, "with the connections open");
    let time = Duration::from_secs(options.seconds);
    let think = Duration::from_millis(options.think);
    let mut errors = 0;
    for phase in [Phase { think: Some(think), time }, Phase { think: None, time }] {
        let usage = Usage::now(server);
        let began = Instant::now();
        let tally;
        (clients, tally) = mix::run(clients, phase).await?;
        let elapsed = began.elapsed();
        errors += report::phase(phase, clients.len(), tally, elapsed, &usage.since(elapsed));
        memory(server, "after it");
    }
    errors += hangups::rounds(connector, &people, options.connections, options.hang_ups).await?;
    if options.hang_ups > 0
        && let Ok(mongodb) = std::env::var("NATTER_MONGODB__URI")
    {
        errors += hangups::frozen(connector, &people, &mongodb).await?;
    }
    memory(server, "after the hang-ups");
    machine("after");
    Ok(errors)
}
