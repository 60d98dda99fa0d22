//! The `natter` command.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use natter::app::{Beside, Failure, OtherAccounts};
use natter::cli::{Cli, Command};
use natter::config::Settings;
use natter::{app, asyncapi, check, failpoint, healthcheck, openapi, telemetry};

/// Exit code for what the operator has to change, as clap uses it for the command line.
const USAGE: u8 = 2;

/// Exit code of a seed that is refused because the database has other accounts.
const OTHER_ACCOUNTS: u8 = 3;

fn main() -> ExitCode {
    // First of all: TLS clients made before would each guess at a provider. Fails only when one
    // is installed already, which is then the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    failpoint::arm();
    let cli = Cli::parse();
    match cli.command {
        Command::Openapi => return print(&openapi::document()),
        Command::Asyncapi => return print(&asyncapi::document()),
        _ => {}
    }
    let settings = match Settings::load(&cli.load_options()) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("natter: {error}");
            return ExitCode::from(USAGE);
        }
    };
    let flush = telemetry::init(&settings.log);
    let outcome = run(cli.command, settings);
    // The last lines, before what may be said below.
    drop(flush);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("natter: {failure}");
            if failure.is::<OtherAccounts>() {
                ExitCode::from(OTHER_ACCOUNTS)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// Written, not printed: whoever reads may stop early, as `head` does.
fn print(document: &serde_json::Value) -> ExitCode {
    match writeln!(std::io::stdout(), "{document:#}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

#[tokio::main]
async fn run(command: Command, settings: Settings) -> Result<(), Failure> {
    match command {
        Command::Serve(_) => app::serve(settings).await,
        Command::Indexes { action, .. } => app::indexes(settings, action).await,
        Command::Seed { crowd: Some(crowd), beside_real_accounts, .. } => {
            let beside = Beside::of(beside_real_accounts);
            let mut reporter = app::Reporter::new();
            let report = |progress| reporter.show(progress);
            let made = app::populate(&settings, crowd.into(), beside, report).await?;
            println!("{made}");
            Ok(())
        }
        Command::Seed { fixture, beside_real_accounts, .. } => {
            let fixture = fixture.unwrap_or_default();
            let beside = Beside::of(beside_real_accounts);
            let made = Box::pin(app::seed(settings, &fixture, beside)).await?;
            println!("{}: {made}", fixture.display());
            Ok(())
        }
        Command::Jobs { action } => app::jobs(&settings, action).await,
        Command::Check(_) => Ok(check::run(&settings).await?),
        Command::Healthcheck(_) => Ok(healthcheck::run(&settings.server).await?),
        Command::Openapi | Command::Asyncapi => Ok(()),
    }
}
