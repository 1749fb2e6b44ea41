//! `behaviour-service`: the cloud side of an IoT Hub on the command line.
//!
//! Results go to standard output, as text or with `--json` as JSON lines, all
//! else to standard error. What went wrong is in the exit code: 1 other, 2 usage, 3 offline, 4 not found, 5 timed
//! out, 6 unauthorised, 7 the device's own error, 8 unreachable.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line program")]

mod command;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use behaviour_service::{
    Client, ClientSettings, Retry, ServiceConnectionString, ServiceError, ServiceErrorKind,
};
use clap::Parser;
use serde_json::json;

use command::Arguments;
use protocol::connection_string::ConnectionStringError;

const IDENTITY: &str = "IOTHUB_CONNECTION_STRING";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let as_json = arguments.json;
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (code, hint) = (exit_code(&error), hint(&error));
            match as_json {
                true => eprintln!(
                    "{}",
                    json!({"error": format!("{error:#}"), "hint": hint, "exitCode": code})
                ),
                false => program::complain(&error, hint.as_deref()),
            }
            ExitCode::from(code)
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let identity = identity(arguments.connection_string_file.as_deref())?;
    let settings = ClientSettings {
        ca_file: arguments.ca_file,
        retries: arguments.retries,
        on_retry: Some(Arc::new(announce)),
        ..ClientSettings::default()
    };
    let client = Client::new(identity, settings)?;
    command::run(arguments.command, &client, arguments.json).await
}

/// The secret: from its file where one is named, else from the environment.
fn identity(file: Option<&Path>) -> anyhow::Result<ServiceConnectionString> {
    let (text, from) = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("connection string file {}", path.display()))?;
            (text, path.display().to_string())
        }
        None => (std::env::var(IDENTITY).map_err(|_| NoIdentity)?, IDENTITY.to_owned()),
    };
    text.trim().parse().context(from)
}

fn announce(retry: &Retry<'_>) {
    let Retry { error, number, wait } = retry;
    eprintln!("{error}; try {} in {:.1} s", number + 1, wait.as_secs_f64());
}

fn exit_code(error: &anyhow::Error) -> u8 {
    let Some(error) = error.downcast_ref::<ServiceError>() else { return 1 };
    match error.kind() {
        ServiceErrorKind::Other => 1,
        ServiceErrorKind::Offline => 3,
        ServiceErrorKind::NotFound => 4,
        ServiceErrorKind::TimedOut => 5,
        ServiceErrorKind::Unauthorised => 6,
        ServiceErrorKind::Device => 7,
        ServiceErrorKind::Unreachable => 8,
    }
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if error.is::<NoIdentity>() {
        return Some(format!(
            "set {IDENTITY}, or --connection-string-file, to the connection string of a shared \
             access policy; behaviour-hub and the Azure portal show it"
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
