//! The command `behaviour-service jobs`.

use std::time::Duration;

use behaviour_service::{Client, Json, MethodRequest, ServiceErrorKind};
use clap::{Args, Subcommand};
use program::duration::parse_or_seconds;
use program::{Progress, candidates, note, say};
use protocol::id::{JobId, MethodName};
use protocol::job::{
    DEFAULT_EXECUTION_SECONDS, DeviceJob, DeviceJobStatus, Job, JobKind, JobStatus,
};
use serde_json::{Value, json};

use super::{input, show};
use crate::command_error::{CommandError, FailureKind, usage};
use crate::known_ids;
use show::OutputFormat;

pub(super) const EXAMPLES: &str = "\
Examples:
  behaviour-service jobs method rebootDevice --target \"tags.site = 'north'\"
  behaviour-service jobs twin '{\"tags\": {\"ring\": 1}}' --target \"deviceId IN ['d1', 'd2']\"
  behaviour-service jobs method greet '\"world\"' --target '*' --start 2030-01-01T00:00:00Z --id greet-all
  behaviour-service jobs show greet-all --devices";

/// Time between two reads of a job.
const POLL: Duration = Duration::from_secs(1);

/// Number of failed devices that are printed.
const SHOWN: usize = 10;

#[derive(Subcommand)]
pub(crate) enum JobsCommand {
    /// Call a method on all devices that match a condition, and wait for their answers
    Method {
        /// The method's name
        method: MethodName,
        /// The payload: any JSON value, @FILE, or - for standard input
        #[arg(default_value = "null", allow_negative_numbers = true)]
        payload: String,
        /// Maximum time for a device to answer, 5s to 300s
        #[arg(long, default_value = "30s", value_parser = input::response_timeout, value_name = "TIME")]
        timeout: Duration,
        /// Maximum time for a device to connect, 0s to 300s
        #[arg(long, default_value = "0s", value_parser = input::connect_timeout, value_name = "TIME")]
        connect_timeout: Duration,
        #[command(flatten)]
        settings: JobSettings,
    },
    /// Change the twins of all devices that match a condition, and wait for the changes
    Twin {
        /// The patch: {"tags": …, "properties": {"desired": …}}, @FILE, or - for standard input
        patch: String,
        #[command(flatten)]
        settings: JobSettings,
    },
    /// Print the jobs of the last 30 days, one per line
    List,
    /// Print a job
    Show {
        /// The job's id
        #[arg(add = candidates(known_ids::of_jobs))]
        id: JobId,
        /// Print the outcome of each device, one per line, instead of the job
        #[arg(long)]
        devices: bool,
    },
    /// Cancel a job that has not started
    Cancel {
        /// The job's id
        #[arg(add = candidates(known_ids::of_jobs))]
        id: JobId,
    },
}

// Without a doc comment, which would become the description of the command.
// The settings of a new job.
#[derive(Args)]
pub(crate) struct JobSettings {
    /// Condition that selects the devices at the start; * for all devices
    #[arg(long, value_name = "CONDITION")]
    target: String,
    /// The job's id; a random one by default
    #[arg(long, value_name = "ID")]
    id: Option<JobId>,
    /// Start, such as 2030-01-01T00:00:00Z; now by default
    #[arg(long, value_name = "TIME")]
    start: Option<jiff::Timestamp>,
    /// Maximum time from the start to the end
    #[arg(long, value_parser = parse_or_seconds, value_name = "TIME")]
    max_time: Option<Duration>,
    /// Print the job's id and do not wait. Implied by --start
    #[arg(long)]
    no_wait: bool,
}

pub(super) async fn run(
    command: JobsCommand,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    match command {
        JobsCommand::Method { method, payload, timeout, connect_timeout, settings } => {
            let request = MethodRequest {
                response_timeout: timeout,
                connect_timeout,
                ..MethodRequest::new(method, input::json("the payload", &payload)?)
            };
            let method = Json::new(request.to_json()).map_err(|error| usage(error.to_string()))?;
            let job = settings.job(JobKind::ScheduleDeviceMethod)?;
            let job = Job { cloud_to_device_method: Some(method), ..job };
            create(client, &job, &settings, show).await
        }
        JobsCommand::Twin { patch, settings } => {
            let Value::Object(mut patch) = input::value("the patch", &patch)? else {
                return Err(usage("the patch is not a JSON object"));
            };
            patch.insert("etag".to_owned(), json!("*"));
            let job = settings.job(JobKind::ScheduleUpdateTwin)?;
            let job = Job { update_twin: Some(Value::Object(patch).into()), ..job };
            create(client, &job, &settings, show).await
        }
        JobsCommand::List => {
            client.jobs().await?.iter().for_each(|job| print(show, job));
            Ok(())
        }
        JobsCommand::Show { id, devices: false } => {
            let job = json!(client.job(&id).await?);
            match show.as_json {
                true => show::json(&job),
                false => say(format_args!("{job:#}")),
            }
            Ok(())
        }
        JobsCommand::Show { id, devices: true } => {
            let parts = client.device_jobs(&id, None).await?;
            parts.iter().for_each(|part| print_part(show, part));
            Ok(())
        }
        JobsCommand::Cancel { id } => {
            print(show, &client.cancel_job(&id).await?);
            Ok(())
        }
    }
}

impl JobSettings {
    fn job(&self, kind: JobKind) -> Result<Job, CommandError> {
        let id = match &self.id {
            Some(id) => id.clone(),
            None => random_id()?,
        };
        let seconds = self.max_time.map_or(DEFAULT_EXECUTION_SECONDS, |time| time.as_secs());
        Ok(Job {
            job_id: id,
            kind,
            status: JobStatus::Unknown,
            query_condition: Some(self.target.clone()),
            created_time: None,
            start_time: self.start.map(|start| start.to_string()),
            end_time: None,
            max_execution_time_in_seconds: Some(seconds),
            cloud_to_device_method: None,
            update_twin: None,
            failure_reason: None,
            status_message: None,
            device_job_statistics: None,
        })
    }
}

fn random_id() -> Result<JobId, CommandError> {
    let number = getrandom::u64().map_err(|error| {
        CommandError::new(FailureKind::default(), format!("no random number for the id: {error}"))
    })?;
    let id = format!("job-{number:016x}").parse();
    Ok(id.expect("letters, digits and `-` are an id"))
}

/// Creates a job and waits for its end.
async fn create(
    client: &Client,
    job: &Job,
    settings: &JobSettings,
    show: OutputFormat,
) -> Result<(), CommandError> {
    client.create_job(job).await?;
    let id = &job.job_id;
    if settings.no_wait || settings.start.is_some() {
        print(show, &client.job(id).await?);
        return Ok(());
    }
    let progress = Progress::new(&format!("{id} is queued"));
    let done = loop {
        let job = client.job(id).await?;
        if job.status.is_final() {
            break job;
        }
        progress.set(&summary(&job));
        tokio::time::sleep(POLL).await;
    };
    drop(progress);
    print(show, &done);
    let failed = done.device_job_statistics.unwrap_or_default().failed_count;
    if failed > 0 {
        let condition = Some("devices.jobs.status = 'failed'");
        let parts = client.device_jobs(id, condition).await?;
        parts.iter().take(SHOWN).for_each(|part| note(part_text(part)));
    }
    let refused = failed > 0 || done.status != JobStatus::Completed;
    match refused {
        false => Ok(()),
        true => {
            let kind = FailureKind::Service(ServiceErrorKind::Device);
            let reason = done.failure_reason.map_or(String::new(), |reason| format!(": {reason}"));
            let text = format!("job `{id}` failed on {failed} devices{reason}");
            let hint = format!("`behaviour-service jobs show {id} --devices` prints all outcomes");
            Err(CommandError::new(kind, text).with_hint(hint))
        }
    }
}

fn print(show: OutputFormat, job: &Job) {
    match show.as_json {
        true => show::json(&json!(job)),
        false => say(summary(job)),
    }
}

fn summary(job: &Job) -> String {
    let status = name(json!(job.status));
    let count = job.device_job_statistics.unwrap_or_default();
    format!(
        "{:<24} {status:<10} {} devices: {} succeeded, {} failed, {} running, {} pending",
        job.job_id.as_str(),
        count.device_count,
        count.succeeded_count,
        count.failed_count,
        count.running_count,
        count.pending_count
    )
}

fn print_part(show: OutputFormat, part: &DeviceJob) {
    match show.as_json {
        true => show::json(&json!(part)),
        false => say(part_text(part)),
    }
}

fn part_text(part: &DeviceJob) -> String {
    let status = name(json!(part.status));
    let outcome = match (&part.error, &part.outcome.device_method_response) {
        (Some(error), _) => json::readable(&error.description).into_owned(),
        (None, Some(answer)) => format!("{} {}", answer.status, answer.payload.compact()),
        (None, None) if part.status == DeviceJobStatus::Completed => "changed".to_owned(),
        (None, None) => String::new(),
    };
    format!("{:<32} {status:<10} {outcome}", part.device_id.as_str())
}

fn name(value: Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
