//! `behaviour-service`: the cloud side of an IoT Hub on the command line.
//!
//! Results go to standard output as JSON, all else to standard error. What went
//! wrong is in the exit code: 1 other, 2 usage, 3 offline, 4 not found, 5 timed
//! out, 6 unauthorised, 7 the device's own error, 8 unreachable.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line program")]

mod command;
mod progress;

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use service::{Client, ClientSettings, Kind, Retry, ServiceConnectionString, ServiceError};

use command::Arguments;
use protocol::connection_string::ConnectionStringError;

const IDENTITY: &str = "IOTHUB_CONNECTION_STRING";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            program::complain(&error, hint(&error).as_deref());
            exit_code(&error)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let text = std::env::var(IDENTITY).map_err(|_| NoIdentity)?;
    let identity: ServiceConnectionString = text.trim().parse().context(IDENTITY)?;
    let settings = ClientSettings {
        ca_file: arguments.ca_file,
        retries: arguments.retries,
        on_retry: Some(Arc::new(announce)),
        ..ClientSettings::default()
    };
    let client = Client::new(identity, settings)?;
    command::run(arguments.command, &client).await
}

fn announce(retry: &Retry<'_>) {
    let Retry { error, number, wait } = retry;
    eprintln!("{error}; try {} in {:.1} s", number + 1, wait.as_secs_f64());
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    let Some(error) = error.downcast_ref::<ServiceError>() else { return ExitCode::FAILURE };
    ExitCode::from(match error.kind() {
        Kind::Other => 1,
        Kind::Offline => 3,
        Kind::NotFound => 4,
        Kind::TimedOut => 5,
        Kind::Unauthorised => 6,
        Kind::Device => 7,
        Kind::Unreachable => 8,
    })
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if error.is::<NoIdentity>() {
        return Some(format!(
            "set {IDENTITY} to the connection string of a shared access policy; behaviour-hub and \
             the Azure portal show it"
        ));
    }
    if error.is::<ConnectionStringError>() {
        return Some("copy it whole: behaviour-hub and the Azure portal show it".to_owned());
    }
    error.downcast_ref::<ServiceError>()?.hint().map(str::to_owned)
}

#[derive(Debug)]
struct NoIdentity;

impl std::error::Error for NoIdentity {}

impl fmt::Display for NoIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no connection string of a hub")
    }
}
