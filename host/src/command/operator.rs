//! Client of the control socket for the operator's commands.

use std::path::PathBuf;

use behaviour_host::control::{ControlAnswer, ControlRequest, ask};
use clap::Args;
use program::say;

use super::error::{CommandError, CommandErrorKind};

/// Options of all commands that send requests to a running host.
#[derive(Args)]
pub(crate) struct OperatorArguments {
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Configuration file of the host
    #[arg(long, default_value = "host.toml", value_name = "FILE", global = true)]
    config: PathBuf,
}

/// Sends a request to the host and prints the answer.
pub(super) fn operate(
    arguments: &OperatorArguments,
    request: &ControlRequest,
) -> Result<(), CommandError> {
    let answer = ask(&arguments.config, request)?;
    let kind = match answer {
        ControlAnswer::Error(_) => CommandErrorKind::Other,
        ControlAnswer::UnknownPlugin(_) => CommandErrorKind::UnknownPlugin,
        ControlAnswer::UnknownJob(_) => CommandErrorKind::UnknownJob,
        answer if arguments.json => {
            say(answer.to_json());
            return Ok(());
        }
        answer => {
            say(answer.to_text());
            return Ok(());
        }
    };
    Err(CommandError::new(kind, answer.to_text()))
}
