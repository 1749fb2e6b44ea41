//! `behaviour-host`: answers the direct methods of an IoT Hub device with plugins.

mod command;

use std::process::ExitCode;

use clap::Parser;

use command::Command;

/// Answers the direct methods of an Azure IoT Hub device with WebAssembly plugins.
///
/// The device's connection string is a secret: it is read from the environment
/// variable IOTHUB_DEVICE_CONNECTION_STRING, or from the file that
/// `connection_string_file` under [hub] names, and is never an argument.
#[derive(Parser)]
#[command(name = "behaviour-host", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    behaviour_host::share_heap();
    Arguments::parse().command.execute()
}
