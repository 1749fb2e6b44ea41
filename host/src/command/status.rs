//! `behaviour-host status`.

use behaviour_host::control::ControlRequest;
use clap::Args;

use super::error::CommandError;
use super::operator::{OperatorArguments, operate};

const EXAMPLES: &str = "\
Examples:
  behaviour-host status
  behaviour-host status --json | jq .connected";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    operator: OperatorArguments,
}

pub(super) fn status(arguments: &StatusArguments) -> Result<(), CommandError> {
    operate(&arguments.operator, &ControlRequest::Status {})
}
