//! `behaviour-host`: answers the direct methods of an IoT Hub device with plugins.

mod command;

use std::process::ExitCode;

use clap::Parser;

use command::Command;

/// Answers the direct methods of an Azure IoT Hub device with WebAssembly plugins.
///
/// The device's connection string is a secret: it is read from the environment
/// variable IOTHUB_DEVICE_CONNECTION_STRING, or from the file that
/// `connection_string_file` under [hub] names, and is never an argument. The same
/// holds for the key of a device that the Device Provisioning Service assigns to a hub:
/// IOTHUB_PROVISIONING_KEY or IOTHUB_PROVISIONING_GROUP_KEY, or a file under [provisioning].
#[derive(Parser)]
#[command(name = "behaviour-host", version, after_help = command::EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    behaviour_host::share_heap();
    let code = match program::parse::<Arguments>(&program::build_info!()) {
        Ok(arguments) => arguments.command.execute(),
        Err(code) => code,
    };
    behaviour_host::release_tokens();
    code
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
    fn the_version_includes_that_of_wasmtime() {
        assert!(program::build_info!().wasmtime.is_some());
    }

    #[test]
    fn every_command_has_a_manual_page() {
        let definition = program::definition::<Arguments>(&program::build_info!());
        command_definition::check_manual(definition);
    }
}
