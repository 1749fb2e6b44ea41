//! The run of a job, from its start to its end.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use protocol::error::{ErrorCode, HubError};
use protocol::id::JobId;
use protocol::job::{DeviceJob, DeviceJobOutcome, DeviceJobStatus, Job, JobKind, JobStatus};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::Jobs;
use super::work::ended;
use crate::query::{Source, TwinFilter};
use crate::stamps::now;

/// Maximum number of devices on which a job works at the same time.
const CONCURRENCY: usize = 64;

/// Maximum number of outcomes in a write.
const MAX_OUTCOMES: usize = 256;

/// Runs a job at its start until it ends.
pub(super) async fn run(jobs: &Arc<Jobs>, id: &JobId) {
    if let Err(error) = run_to_end(jobs, id).await {
        warn!(job = %id, reason = error.message, "job failed");
        let failed = |job| Job {
            status: JobStatus::Failed,
            failure_reason: Some(error.message),
            end_time: Some(now()),
            ..job
        };
        // A failed write is logged.
        let _ = jobs.change(id, failed).await;
    }
}

async fn run_to_end(jobs: &Arc<Jobs>, id: &JobId) -> Result<(), HubError> {
    let Some(job) = wait_for_start(jobs, id).await? else { return Ok(()) };
    let pending = if job.status == JobStatus::Running {
        continued(jobs, &job).await?
    } else {
        let running = |job: Job| match job.status {
            JobStatus::Cancelled => job,
            _ => Job { status: JobStatus::Running, ..job },
        };
        jobs.change(id, running).await?;
        if jobs.state.job(id).is_none_or(|job| job.status != JobStatus::Running) {
            return Ok(());
        }
        begun(jobs, &job).await?
    };
    info!(job = %id, devices = pending.len(), "job started");
    let limit = Duration::from_secs(job.max_execution_time_in_seconds.unwrap_or_default());
    let work = async {
        let parts = stream::iter(pending).map(|part| jobs.work(&job, part));
        let mut outcomes = parts.buffer_unordered(CONCURRENCY).ready_chunks(MAX_OUTCOMES);
        while let Some(outcomes) = outcomes.next().await {
            jobs.write(outcomes).await?;
        }
        Ok::<(), HubError>(())
    };
    match timeout(limit.saturating_sub(since(job.start_time.as_deref())), work).await {
        Ok(done) => done?,
        Err(_) => {
            let text = "the maximum execution time of the job has passed";
            jobs.fail_unfinished(id, text).await?;
        }
    }
    jobs.change(id, |job| Job { status: JobStatus::Completed, end_time: Some(now()), ..job })
        .await?;
    info!(job = %id, "job completed");
    Ok(())
}

/// Waits until the start of a job. Returns `None` if it was cancelled.
async fn wait_for_start(jobs: &Arc<Jobs>, id: &JobId) -> Result<Option<Job>, HubError> {
    loop {
        let cancelled = jobs.cancelled.notified();
        let Some(job) = jobs.state.job(id) else { return Ok(None) };
        let wait = until(job.start_time.as_deref());
        match job.status {
            JobStatus::Queued | JobStatus::Scheduled if wait.is_zero() => return Ok(Some(job)),
            JobStatus::Queued => {
                let scheduled = |job: Job| match job.status {
                    JobStatus::Queued => Job { status: JobStatus::Scheduled, ..job },
                    _ => job,
                };
                jobs.change(id, scheduled).await?;
            }
            JobStatus::Scheduled => {
                tokio::select! {
                    () = sleep(wait) => {}
                    () = cancelled => {}
                }
            }
            JobStatus::Running => return Ok(Some(job)),
            _ => return Ok(None),
        }
    }
}

/// Selects the devices of a job that begins.
async fn begun(jobs: &Arc<Jobs>, job: &Job) -> Result<Vec<DeviceJob>, HubError> {
    let (this, job) = (Arc::clone(jobs), job.clone());
    let select = move || {
        let text = job.query_condition.as_deref().unwrap_or("*");
        let filter = TwinFilter::of_job(text).map_err(|error| {
            HubError::new(ErrorCode::ArgumentInvalid, format!("queryCondition: {error}"))
        })?;
        let of_modules = filter.source() == Source::Modules;
        let selected = this.state.after(None).into_iter().filter(|entity| {
            entity.owner.module.is_some() == of_modules && filter.matches(&entity.twin_view())
        });
        let time = now();
        let part = |owner: &crate::state::Owner| DeviceJob {
            device_id: owner.device.clone(),
            module_id: owner.module.clone(),
            job_id: job.job_id.clone(),
            job_type: job.kind,
            status: DeviceJobStatus::Pending,
            start_time_utc: None,
            end_time_utc: None,
            created_date_time_utc: time.clone(),
            last_updated_date_time_utc: time.clone(),
            outcome: DeviceJobOutcome::default(),
            error: None,
        };
        let parts: Vec<DeviceJob> = selected.map(|entity| part(&entity.owner)).collect();
        this.state.write_device_jobs(parts.clone())?;
        Ok(parts)
    };
    blocking(select).await
}

/// Returns the rest of a job that a stop of the hub has interrupted.
async fn continued(jobs: &Arc<Jobs>, job: &Job) -> Result<Vec<DeviceJob>, HubError> {
    if job.kind == JobKind::ScheduleDeviceMethod {
        // The device may have been called.
        let text = "the hub stopped before the device answered";
        jobs.fail_unfinished(&job.job_id, text).await?;
        return Ok(Vec::new());
    }
    let parts = jobs.state.device_jobs(&job.job_id);
    let unfinished = parts.iter().filter(|part| is_unfinished(part));
    Ok(unfinished.map(|part| DeviceJob::clone(part)).collect())
}

impl Jobs {
    /// Changes the job itself.
    async fn change(
        self: &Arc<Self>,
        id: &JobId,
        change: impl FnOnce(Job) -> Job + Send + 'static,
    ) -> Result<(), HubError> {
        let (this, id) = (Arc::clone(self), id.clone());
        let change = move || {
            this.state.change_job(&id, |current, _| match current {
                Some(current) => Ok(change(current.clone())),
                None => Err(HubError::new(ErrorCode::JobNotFound, id.to_string())),
            })
        };
        blocking(change).await
    }

    async fn write(self: &Arc<Self>, parts: Vec<DeviceJob>) -> Result<(), HubError> {
        let this = Arc::clone(self);
        blocking(move || this.state.write_device_jobs(parts)).await
    }

    async fn fail_unfinished(self: &Arc<Self>, id: &JobId, text: &str) -> Result<(), HubError> {
        let parts = self.state.device_jobs(id);
        let unfinished = parts.iter().filter(|part| is_unfinished(part));
        let failed = unfinished.map(|part| {
            let error = HubError::new(ErrorCode::GenericTimeout, text);
            ended(DeviceJob::clone(part), Err(error))
        });
        self.write(failed.collect()).await
    }
}

fn is_unfinished(part: &DeviceJob) -> bool {
    use DeviceJobStatus::{Pending, Running, Scheduled};
    matches!(part.status, Pending | Scheduled | Running)
}

/// Runs work that can wait for the disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HubError> + Send + 'static,
) -> Result<T, HubError> {
    let panicked = |_| HubError::new(ErrorCode::ServerError, "the job panicked");
    tokio::task::spawn_blocking(work).await.map_err(panicked)?
}

/// Returns the time until a time; zero if it has passed.
fn until(time: Option<&str>) -> Duration {
    let left = time.and_then(|time| time.parse::<Timestamp>().ok());
    let left = left.map(|time| time.duration_since(Timestamp::now()));
    left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default()
}

/// Returns the time since a time; zero if it is in the future.
fn since(time: Option<&str>) -> Duration {
    let passed = time.and_then(|time| time.parse::<Timestamp>().ok());
    let passed = passed.map(|time| Timestamp::now().duration_since(time));
    passed.and_then(|passed| Duration::try_from(passed).ok()).unwrap_or_default()
}
