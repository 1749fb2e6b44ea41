//! `behaviour-service`: the service side of an IoT Hub on the command line.
//!
//! Results are printed to standard output as text or, with `--json`, as JSON lines.
//! Progress and errors are printed to standard error. The exit code is the kind of
//! failure: 1 other, 2 usage, 3 offline, 4 not found, 5 timed out, 6 unauthorised,
//! 7 device error, 8 unreachable.

mod command;
mod command_error;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use behaviour_service::{Client, ClientSettings, Retry, ServiceConnectionString};
use clap::Parser;
use program::{ExitKind as _, note, text};
use serde_json::json;

use command::Arguments;
use command_error::{CommandError, FailureKind};

const IDENTITY: &str = "IOTHUB_CONNECTION_STRING";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let as_json = arguments.json;
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if as_json => report_as_json(&error),
        Err(error) => error.report(),
    }
}

async fn run(arguments: Arguments) -> Result<(), CommandError> {
    let identity = identity(arguments.connection_string_file.as_deref())?;
    let settings = ClientSettings {
        ca_file: arguments.ca_file,
        retries: arguments.retries,
        on_retry: Some(Arc::new(note_retry)),
        ..ClientSettings::default()
    };
    let client = Client::new(identity, settings)?;
    command::run(arguments.command, &client, arguments.json).await
}

/// Reads the connection string from the file, if there is one, otherwise from the
/// environment.
fn identity(file: Option<&Path>) -> Result<ServiceConnectionString, CommandError> {
    let (text, source) = match file {
        Some(path) => {
            let text = text::read(path)
                .with_context(|| format!("connection string file {}", path.display()))?;
            (text, path.display().to_string())
        }
        None => {
            let text = text::variable(IDENTITY).context(IDENTITY)?;
            (text.ok_or_else(missing_identity)?, IDENTITY.to_owned())
        }
    };
    text.trim().parse().map_err(|error| CommandError::from(error).context(source))
}

fn missing_identity() -> CommandError {
    let error =
        CommandError::new(FailureKind::default(), "connection string of the hub is missing");
    error.with_hint(format!(
        "set {IDENTITY}, or --connection-string-file, to the connection string of a shared access \
         policy; behaviour-hub and the Azure portal show it"
    ))
}

fn note_retry(retry: &Retry<'_>) {
    let Retry { error, number, wait } = retry;
    note(format_args!("{error}; retry {number} in {:.1} s", wait.as_secs_f64()));
}

/// Writes the error to standard error as one line of JSON, and returns the exit code.
fn report_as_json(error: &CommandError) -> ExitCode {
    let code = error.kind().exit_code();
    note(json!({"error": error.message(), "hint": error.hint(), "exitCode": code}));
    ExitCode::from(code)
}
