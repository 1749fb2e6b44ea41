//! `behaviour-host metrics`.

use behaviour_host::control::ControlRequest;
use clap::Args;

use super::error::CommandError;
use super::operator::{OperatorArguments, operate};

const LONG: &str = "\
Show the metrics of a running host as OpenMetrics text.

With `listen` under [host.metrics] in host.toml, Prometheus can read the same text.";

const EXAMPLES: &str = "\
Examples:
  behaviour-host metrics
  behaviour-host metrics | grep method_calls";

#[derive(Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct MetricsArguments {
    #[command(flatten)]
    operator: OperatorArguments,
}

pub(super) fn metrics(arguments: &MetricsArguments) -> Result<(), CommandError> {
    operate(&arguments.operator, &ControlRequest::Metrics {})
}
