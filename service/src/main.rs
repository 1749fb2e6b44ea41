//! `behaviour-service`: the service side of an IoT Hub on the command line.
//!
//! Results are printed to standard output as text or, with `--json`, as JSON lines.
//! Progress and errors are printed to standard error. The exit code is the kind of
//! failure: 1 other, 2 usage, 3 offline, 4 not found, 5 timed out, 6 unauthorised,
//! 7 device error, 8 unreachable.

mod command;
mod command_error;
mod device_ids;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use behaviour_service::{Client, ClientSettings, Retry, ServiceConnectionString};
use program::{note, text};

use command::{Arguments, Command, HubCommand, Options};
use command_error::{CommandError, FailureKind};

const IDENTITY: &str = "IOTHUB_CONNECTION_STRING";

fn main() -> ExitCode {
    let arguments = match program::parse::<Arguments>(&program::build_info!()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let outcome = match arguments.command {
        Command::Hub(command) => run(command, arguments.options),
        Command::Completions(completions) => {
            completions.print("behaviour-service");
            Ok(())
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

#[tokio::main]
async fn run(command: HubCommand, options: Options) -> Result<(), CommandError> {
    let identity = identity(options.connection_string_file.as_deref())?;
    let settings = ClientSettings {
        ca_file: options.ca_file,
        retries: options.retries,
        on_retry: Some(Arc::new(note_retry)),
        ..ClientSettings::default()
    };
    let client = Client::new(identity, settings)?;
    command::run(command, &client, options.json).await
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

#[cfg(test)]
#[path = "../../docs/command_definition.rs"]
mod command_definition;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_help_texts_are_valid() {
        let definition = program::definition::<Arguments>(&program::build_info!());
        command_definition::check_examples(&definition);
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let definition = program::definition::<Arguments>(&program::build_info!());
        command_definition::check_manual(definition);
    }
}
