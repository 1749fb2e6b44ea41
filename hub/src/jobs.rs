//! Jobs, which call a method on or change the twin of many devices.
//!
//! [`Jobs::create`] checks and persists a job, and [`Jobs::start`] runs it. A job selects its
//! devices when it starts. Jobs continue after a restart of the hub, but a method is never
//! called twice: devices without a persisted answer fail.
//!
//! Finished jobs are kept for 30 days, the newest hundred of them.

mod request;
mod run;
mod work;

use std::sync::Arc;

use jiff::{Timestamp, ToSpan as _};
use protocol::error::{ErrorCode, HubError};
use protocol::id::JobId;
use protocol::job::{Job, JobStatus};
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::methods::Methods;
use crate::refusal::Refusal;
use crate::stamps::{now, tracking_id};
use crate::state::State;
use crate::twin_writes::TwinWriter;

/// Maximum number of active jobs, as in the free tier of IoT Hub and in S1. Jobs with a start in
/// the future are not active.
const MAX_ACTIVE: usize = 1;

/// Maximum number of finished jobs.
const MAX_FINISHED: usize = 100;

/// Days for which a finished job is kept.
const HISTORY_DAYS: i64 = 30;

/// Maximum number of jobs that wait for their start.
const MAX_SCHEDULED: usize = 1000;

/// The jobs of a hub.
pub(crate) struct Jobs {
    state: Arc<State>,
    methods: Arc<Methods>,
    twins: Arc<TwinWriter>,
    tasks: TaskTracker,
    stop: CancellationToken,
    cancelled: Notify,
}

/// The jobs in a list.
pub(crate) struct JobSelection {
    kind: Option<String>,
    status: Option<String>,
}

impl JobSelection {
    /// Creates a selection by names, which are compared without case. A missing or empty name
    /// selects all.
    pub(crate) fn new(kind: Option<String>, status: Option<String>) -> JobSelection {
        let named = |name: Option<String>| name.filter(|name| !name.is_empty());
        JobSelection { kind: named(kind), status: named(status) }
    }

    fn includes(&self, job: &Job) -> bool {
        let is = |wanted: &Option<String>, value: Value| {
            let wanted = wanted.as_deref();
            wanted.is_none_or(|wanted| {
                value.as_str().is_some_and(|value| value.eq_ignore_ascii_case(wanted))
            })
        };
        is(&self.kind, serde_json::json!(job.kind))
            && is(&self.status, serde_json::json!(job.status))
    }
}

impl Jobs {
    pub(crate) fn new(
        (state, methods): (Arc<State>, Arc<Methods>),
        twins: Arc<TwinWriter>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Arc<Jobs> {
        Arc::new(Jobs { state, methods, twins, tasks, stop, cancelled: Notify::new() })
    }

    /// Continues the jobs that the state file contains.
    pub(crate) fn resume(self: &Arc<Self>) {
        for job in self.state.jobs(|job| !job.status.is_final()) {
            self.start(&job.job_id);
        }
    }

    /// Checks and persists a new job.
    pub(crate) fn create(&self, id: &str, body: &str) -> Result<Job, Refusal> {
        let job = request::parse(id, body, &now())?;
        self.state.change_job(&job.job_id, |current, all| {
            if current.is_some() {
                let text = format!("A job with ID '{}' already exists.", job.job_id);
                return Err(HubError::new(ErrorCode::JobAlreadyExists, text));
            }
            let now = now();
            let max = if is_later(&job, &now) { MAX_SCHEDULED } else { MAX_ACTIVE };
            let others = all.iter().filter(|other| {
                !other.status.is_final() && is_later(other, &now) == is_later(&job, &now)
            });
            if others.count() >= max {
                return Err(too_many_active());
            }
            Ok(job.clone())
        })?;
        self.remove_old();
        Ok(job)
    }

    /// Runs a job at its start.
    pub(crate) fn start(self: &Arc<Self>, id: &JobId) {
        let (this, id, stop) = (Arc::clone(self), id.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            // A stopped hub continues the job at its next start.
            stop.run_until_cancelled(run::run(&this, &id)).await;
        });
    }

    /// Returns a job.
    pub(crate) fn get(&self, id: &str) -> Result<Job, Refusal> {
        let found = id.parse().ok().and_then(|id| self.state.job(&id));
        found.ok_or_else(|| not_found(id))
    }

    /// Returns the selected jobs, ordered by id.
    pub(crate) fn list(&self, selection: &JobSelection) -> Vec<Job> {
        self.state.jobs(|job| selection.includes(job))
    }

    /// Cancels a job that has not started.
    pub(crate) fn cancel(&self, id: &str) -> Result<Job, Refusal> {
        let job_id = id.parse::<JobId>().map_err(|_| not_found(id))?;
        self.state.change_job(&job_id, |current, _| {
            let current = current.ok_or_else(|| not_found(id))?;
            match current.status {
                JobStatus::Queued | JobStatus::Scheduled => Ok(Job {
                    status: JobStatus::Cancelled,
                    end_time: Some(now()),
                    ..current.clone()
                }),
                status => Err(Refusal::named(
                    400,
                    "OperationNotAllowedInCurrentState",
                    format!("Job cannot be cancelled in '{status:?}' status."),
                )),
            }
        })?;
        self.cancelled.notify_waiters();
        self.get(id)
    }

    /// Removes finished jobs beyond the limits of the history.
    fn remove_old(&self) {
        let mut finished = self.state.jobs(|job| job.status.is_final());
        finished.sort_by(|a, b| b.end_time.cmp(&a.end_time));
        let oldest = Timestamp::now() - (HISTORY_DAYS * 24).hours();
        let oldest = format!("{oldest:.7}");
        let old = finished.iter().enumerate().filter(|(index, job)| {
            *index >= MAX_FINISHED || job.end_time.as_ref().is_some_and(|end| *end < oldest)
        });
        for (_, job) in old {
            // A failed write is logged, and the job is removed after the next restart.
            let _ = self.state.remove_job(&job.job_id);
        }
    }
}

/// Returns `true` if a job starts in the future. All times have the same number of digits.
fn is_later(job: &Job, now: &str) -> bool {
    job.start_time.as_deref().is_some_and(|start| start > now)
}

fn not_found(id: &str) -> Refusal {
    HubError::new(ErrorCode::JobNotFound, format!("Job {id} not found")).into()
}

/// Returns the error in the text of IoT Hub (Azure/azure-iot-sdk-csharp#361).
fn too_many_active() -> HubError {
    let code = ErrorCode::ThrottlingMaxActiveJobCountExceeded;
    let inner = serde_json::json!({
        "Message": format!("ErrorCode:{};429", code.name()),
        "ExceptionMessage": format!("Tracking ID:{}", tracking_id()),
    });
    HubError::new(code, format!("Error: 429 {inner}"))
}
