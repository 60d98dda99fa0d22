//! The real-time tool: a thousand people with a WebSocket or two, what they write to each other,
//! and how long it takes to arrive.
//!
//! `cargo bench --bench realtime` starts an instance of its own, a process apart, on the MongoDB
//! and Redis of `NATTER_MONGODB__URI` and `NATTER_REDIS__URL`, and prints tables; `-- --help` lists
//! the options. A message that is lost, comes twice or to somebody else, or any other error, ends
//! it with exit code 1.

mod board;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod report;
mod scenarios;
mod socket;
mod stage;
mod talk;
mod verdict;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use tokio::time::Instant;

use common::Result;
use common::client::Connector;
use common::instance::Instance;
use common::machine::check_open_files;
use common::people::People;
use common::report::{build, machine, memory, opened};
use crowd::Crowd;
use stage::Stage;
use talk::Talk;

/// Measures how natter delivers in real time.
#[derive(Debug, Parser)]
#[command(name = "realtime")]
struct Options {
    /// People, each connected.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=1000))]
    accounts: u32,
    /// Their sockets: the first ones have one more each, until so many are reached.
    #[arg(long, default_value_t = 1100, value_parser = clap::value_parser!(u32).range(10..=9000))]
    sockets: u32,
    /// Direct messages a second.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// Seconds of that.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// Connections that they are sent over.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    senders: u32,
    /// Messages to a group of all people, one a second.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600))]
    group_messages: u32,
    /// Devices that stop reading.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    stalled: u32,
    /// Direct messages a second beside them.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    stall_rate: u32,
    /// Seconds of that, with none of them stalled and then with all.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=600))]
    stall_seconds: u32,
    /// Only these, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Scenario>,
    /// What cargo says when it is to be measured.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    Direct,
    Group,
    Stall,
    Storm,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !options.bench {
        println!("realtime: measures only when run by `cargo bench --bench realtime`");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("realtime: {wrong} things went wrong");
            ExitCode::FAILURE
        }
        Err(failure) => {
            eprintln!("realtime: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Returns how many things went wrong.
#[tokio::main]
async fn run(options: &Options) -> Result<usize> {
    // Fails only when one is installed already, which is then the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let Options { accounts, sockets, senders, stalled, .. } = options;
    if sockets < accounts || *sockets > 9 * accounts || stalled >= accounts {
        return Err("from one to nine sockets an account, and fewer stalled than accounts".into());
    }
    check_open_files(u64::from(sockets + senders + stalled))?;
    machine("before");
    let mut instance = Instance::start()?;
    let measured = tokio::select! {
        measured = measure(options, &mut instance) => measured,
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    let stopped = instance.stop(!matches!(measured, Ok(0))).await;
    measured.and_then(|wrong| stopped.map(|()| wrong))
}

async fn measure(options: &Options, instance: &mut Instance) -> Result<usize> {
    let connector = Arc::new(instance.ready().await?);
    let mut stage = prepare(options, instance, connector).await?;
    let mut wrong = 0;
    for scenario in [Scenario::Direct, Scenario::Group, Scenario::Stall, Scenario::Storm] {
        if options.only.is_empty() || options.only.contains(&scenario) {
            wrong += match scenario {
                Scenario::Direct => scenarios::direct(&mut stage, options).await?,
                Scenario::Group => scenarios::group(&mut stage, options).await?,
                Scenario::Stall => scenarios::stall(&mut stage, options).await?,
                Scenario::Storm => scenarios::storm(&mut stage, options).await?,
            };
        }
    }
    println!();
    machine("after");
    Ok(wrong)
}

/// Signs everyone up and connects their devices.
async fn prepare(
    options: &Options,
    instance: &Instance,
    connector: Arc<Connector>,
) -> Result<Stage> {
    let (began, server) = (Instant::now(), instance.pid());
    let people = People::sign_up(&connector, &instance.mails(), options.accounts as usize).await?;
    build();
    println!("prepared: {} people in {:.1} s", people.len(), began.elapsed().as_secs_f64());
    memory(Some(server), "before the sockets");
    let owners = (0..options.sockets as usize).map(|socket| socket % people.len()).collect();
    let crowd = Crowd::new(&connector, &people, owners, None);
    let (elapsed, each) = crowd.open().await?;
    opened("WebSockets, opened at once, all ready", elapsed, each);
    memory(Some(server), "with the sockets open");
    let talk = Talk::new(connector, people, options.senders as usize);
    let mut stage = Stage::new(talk, crowd, server);
    // Once to and fro, so that no conversation is new when it is measured.
    stage.settle(stage.direct(2 * stage.pairs(), options.stall_rate)).await?;
    Ok(stage)
}
