//! Calls of a plugin, and their failures.

use plugin::{Answer, BootOutcome, Call, CallError, JobError, Plugin};
use serde_json::{Map, Value};

/// A call of one of a plugin's exported functions.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// A method, with a payload of JSON text.
    Method {
        /// Its name.
        name: &'a str,
        /// JSON text, any value.
        payload: &'a str,
    },
    /// A job.
    Job {
        /// Its name.
        name: &'a str,
        /// JSON text, any value.
        payload: &'a str,
        /// 1 on the first try.
        attempt: u32,
        /// The outcome of the boot that it waited for.
        boot_outcome: BootOutcome,
    },
    /// To take note of a change of the desired properties, which the twin has
    /// already: see [`Desk::with_change`](super::Desk::with_change).
    Changed {
        /// The change.
        patch: &'a Map<String, Value>,
    },
    /// To take over from a version, or from none.
    Start {
        /// The version before.
        previous_version: Option<&'a str>,
    },
}

/// The reason why a call did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// The call ended without.
    Call(CallError),
    /// It wants the job, or the change, again, or not at all.
    Job(JobError),
    /// It will not take over.
    Start(String),
}

impl Failure {
    /// The status that a caller gets; jobs, changes and starts have none.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Failure::Call(error) => Some(error.status()),
            Failure::Job(_) | Failure::Start(_) => None,
        }
    }

    /// One word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Failure::Call(error) => error.word(),
            Failure::Job(JobError::Retry(_)) => "retry",
            Failure::Job(JobError::Reject(_)) => "rejected",
            Failure::Job(JobError::Other(_)) => "other",
            Failure::Start(_) => "refused",
        }
    }

    /// One line about it.
    #[must_use]
    pub fn message(&self) -> String {
        let text = match self {
            Failure::Call(error) => return error.message(),
            Failure::Job(JobError::Retry(Some(ms))) => return format!("again in {ms} ms"),
            Failure::Job(JobError::Retry(None)) => return "again when the host likes".to_owned(),
            Failure::Job(JobError::Reject(why) | JobError::Other(why)) | Failure::Start(why) => why,
        };
        super::record::shown(text)
    }
}

impl Asked<'_> {
    /// The name that stands in the log.
    pub(super) fn name(&self) -> &str {
        match self {
            Asked::Method { name, .. } | Asked::Job { name, .. } => name,
            Asked::Changed { .. } => "desired.changed",
            Asked::Start { .. } => "lifecycle.start",
        }
    }

    /// Asks it. `call` has this one's name; `version` is of the desired
    /// properties.
    pub(super) async fn of(
        &self,
        plugin: &Plugin,
        mut call: Call<'_>,
        version: u64,
    ) -> Result<Option<Answer>, Failure> {
        match self {
            Asked::Method { payload, .. } => {
                let answer = plugin.invoke(Call { payload, ..call }).await;
                answer.map(Some).map_err(Failure::Call)
            }
            Asked::Job { payload, attempt, boot_outcome, .. } => {
                (call.attempt, call.boot_outcome) = (*attempt, *boot_outcome);
                let ran = plugin.run_job(Call { payload, ..call }).await;
                done(ran, Failure::Job)
            }
            Asked::Changed { patch } => {
                let payload = serde_json::to_string(patch).expect("a patch is JSON");
                let told =
                    plugin.desired_changed(Call { payload: &payload, ..call }, version).await;
                done(told, Failure::Job)
            }
            Asked::Start { previous_version } => {
                done(plugin.start(call, *previous_version).await, Failure::Start)
            }
        }
    }
}

fn done<E>(
    ended: Result<Result<(), E>, CallError>,
    no: impl FnOnce(E) -> Failure,
) -> Result<Option<Answer>, Failure> {
    match ended {
        Ok(Ok(())) => Ok(None),
        Ok(Err(error)) => Err(no(error)),
        Err(error) => Err(Failure::Call(error)),
    }
}
