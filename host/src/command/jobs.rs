//! `behaviour-host jobs`.

use behaviour_host::control::ControlRequest;
use clap::{Args, Subcommand};
use program::candidates;

use super::error::CommandError;
use super::names;
use super::operator::{OperatorArguments, operate};

const EXAMPLES: &str = "\
Examples:
  behaviour-host jobs
  behaviour-host jobs list --json | jq '.jobs[].due'
  behaviour-host jobs cancel ID";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct JobsArguments {
    #[command(subcommand)]
    command: Option<JobsCommand>,
    #[command(flatten)]
    operator: OperatorArguments,
}

#[derive(Subcommand)]
enum JobsCommand {
    /// List the jobs that plugins have scheduled, with their due times and attempts
    List,
    /// Remove a job that is not running; its plugin is not notified
    Cancel {
        /// Id of the job, as shown in the list
        #[arg(value_name = "ID", add = candidates(names::jobs))]
        job: String,
    },
}

pub(super) fn jobs(JobsArguments { command, operator }: JobsArguments) -> Result<(), CommandError> {
    let request = match command.unwrap_or(JobsCommand::List) {
        JobsCommand::List => ControlRequest::Jobs {},
        JobsCommand::Cancel { job } => ControlRequest::CancelJob { job },
    };
    operate(&operator, &request)
}
