//! `behaviour-service`: the service side of an IoT Hub on the command line.
//!
//! Results are printed to standard output as text or, with `--json`, as JSON lines.
//! Progress and errors are printed to standard error. The exit code is the kind of
//! failure: 1 other, 2 usage, 3 offline, 4 not found, 5 timed out, 6 unauthorised,
//! 7 device error, 8 unreachable.

mod command;
mod command_error;
mod known_ids;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use behaviour_service::{
    Client, ClientSettings, ProvisioningClient, Retry, ServiceConnectionString,
};
use program::{note, text};

use command::provisioning::{ProvisioningCommand, ProvisioningIdentity};
use command::{Arguments, Command, HubCommand, Options, OutputFormat};
use command_error::{CommandError, EnrollmentError, FailureKind, PROVISIONING_IDENTITY};

const IDENTITY: &str = "IOTHUB_CONNECTION_STRING";

fn main() -> ExitCode {
    let arguments = match program::parse::<Arguments>(&program::build_info!()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let outcome = match arguments.command {
        Command::Hub(command) => run(command, arguments.options),
        Command::Enrollments { identity, command } => run_provisioning(
            ProvisioningCommand::Enrollments(command),
            &identity,
            arguments.options,
        ),
        Command::Groups { identity, command } => {
            run_provisioning(ProvisioningCommand::Groups(command), &identity, arguments.options)
        }
        Command::Registrations { identity, command } => run_provisioning(
            ProvisioningCommand::Registrations(command),
            &identity,
            arguments.options,
        ),
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
    let identity = identity(options.connection_string_file.as_deref(), IDENTITY)?;
    let as_json = options.json;
    let client = Client::new(identity, settings(options))?;
    command::run(command, &client, as_json).await
}

#[tokio::main]
async fn run_provisioning(
    command: ProvisioningCommand,
    identity_file: &ProvisioningIdentity,
    options: Options,
) -> Result<(), CommandError> {
    let show = OutputFormat { as_json: options.json };
    let command = match command.run_offline(show)? {
        Some(command) => command,
        None => return Ok(()),
    };
    let identity = identity(identity_file.file(), PROVISIONING_IDENTITY)?;
    let client = ProvisioningClient::new(identity, settings(options)).map_err(EnrollmentError)?;
    command.run(&client, show).await
}

fn settings(options: Options) -> ClientSettings {
    ClientSettings {
        ca_file: options.ca_file,
        retries: options.retries,
        on_retry: Some(Arc::new(note_retry)),
        ..ClientSettings::default()
    }
}

/// Reads the connection string from the file, if there is one, otherwise from the
/// environment variable.
fn identity(
    file: Option<&Path>,
    variable: &'static str,
) -> Result<ServiceConnectionString, CommandError> {
    let (text, source) = match file {
        Some(path) => {
            let text = text::read(path)
                .with_context(|| format!("connection string file {}", path.display()))?;
            (text, path.display().to_string())
        }
        None => {
            let text = text::variable(variable).context(variable)?;
            (text.ok_or_else(|| missing_identity(variable))?, variable.to_owned())
        }
    };
    text.trim().parse().map_err(|error| CommandError::from(error).context(source))
}

fn missing_identity(variable: &str) -> CommandError {
    let error = |text| CommandError::new(FailureKind::default(), text);
    if variable == PROVISIONING_IDENTITY {
        let text = "connection string of the Device Provisioning Service is missing";
        return error(text).with_hint(format!(
            "set {variable}, or --provisioning-file, to the connection string of a shared access \
             policy; behaviour-hub and the Azure portal show it"
        ));
    }
    error("connection string of the hub is missing").with_hint(format!(
        "set {variable}, or --connection-string-file, to the connection string of a shared access \
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
