//! `behaviour-service`: the service side of an IoT Hub on the command line.
//!
//! Results are printed to standard output as text or, with `--json`, as JSON lines.
//! Progress and errors are printed to standard error. The exit code is the kind of
//! failure: 1 other, 2 usage, 3 offline, 4 not found, 5 timed out, 6 unauthorised,
//! 7 device error, 8 unreachable.

mod command;
mod command_error;
mod known_ids;
mod sign_in;

use std::process::ExitCode;
use std::sync::Arc;

use behaviour_service::{ClientSettings, Retry};
use program::note;

use command::provisioning::{ProvisioningCommand, ProvisioningIdentity};
use command::{Arguments, Command, HubCommand, Options, OutputFormat};
use command_error::CommandError;
use sign_in::{SignIn, Target};

fn main() -> ExitCode {
    let arguments = match program::parse::<Arguments>(&program::build_info!()) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let outcome = match arguments.command {
        Command::Hub(command) => run(command, arguments.options),
        Command::Enrollments { identity, command } => {
            run_provisioning(ProvisioningCommand::Enrollments(command), identity, arguments.options)
        }
        Command::Groups { identity, command } => {
            run_provisioning(ProvisioningCommand::Groups(command), identity, arguments.options)
        }
        Command::Registrations { identity, command } => run_provisioning(
            ProvisioningCommand::Registrations(command),
            identity,
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
    let as_json = options.json;
    let sign_in = SignIn {
        target: Target::Hub,
        auth: options.auth,
        host: options.host.clone(),
        file: options.connection_string_file.clone(),
    };
    let client = sign_in.client(settings(options))?;
    command::run(command, &client, as_json).await
}

#[tokio::main]
async fn run_provisioning(
    command: ProvisioningCommand,
    identity: ProvisioningIdentity,
    options: Options,
) -> Result<(), CommandError> {
    let show = OutputFormat { as_json: options.json };
    let command = match command.run_offline(show)? {
        Some(command) => command,
        None => return Ok(()),
    };
    let client = identity.sign_in(options.auth).client(settings(options))?;
    command.run(&client.into(), show).await
}

fn settings(options: Options) -> ClientSettings {
    ClientSettings {
        ca_file: options.ca_file,
        retries: options.retries,
        on_retry: Some(Arc::new(note_retry)),
        ..ClientSettings::default()
    }
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
