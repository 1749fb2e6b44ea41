//! Calls to a plugin's exports, and their failures.

use plugin::{Answer, BootOutcome, Call, CallError, JobError, Plugin};
use serde_json::{Map, Value};

/// A call to one of a plugin's exports.
#[derive(Debug, Clone, Copy)]
pub enum ExportCall<'a> {
    /// A method.
    Method {
        /// The method's name.
        name: &'a str,
        /// The payload as JSON text; any value is allowed.
        payload: &'a str,
    },
    /// A job.
    Job {
        /// The job's name.
        name: &'a str,
        /// The payload as JSON text; any value is allowed.
        payload: &'a str,
        /// The attempt number, from 1.
        attempt: u32,
        /// The outcome of the boot that the job waited for.
        boot_outcome: BootOutcome,
    },
    /// A change of the desired properties. The device's twin must already contain the change;
    /// see [`Desk::with_change`](super::Desk::with_change).
    Changed {
        /// The patch of the desired properties.
        patch: &'a Map<String, Value>,
    },
    /// A cloud-to-device message.
    Message {
        /// The body.
        body: &'a [u8],
        /// The names and values of the properties.
        properties: &'a [(String, String)],
        /// The attempt number, from 1.
        attempt: u32,
    },
    /// The start of a plugin.
    Start {
        /// The version that the plugin replaces; `None` if there was none.
        previous_version: Option<&'a str>,
    },
}

/// The reason why a call failed.
#[derive(Debug)]
pub enum CallFailure {
    /// An error of the call itself, such as a missed deadline or a trap.
    Call(CallError),
    /// An error that the plugin returned from a job, for a change of the desired properties, or
    /// for a message.
    Job(JobError),
    /// An error that the plugin returned at its start.
    Start(String),
}

impl CallFailure {
    /// Returns the status that the caller of a method would receive. Returns `None` for an
    /// error that the plugin returned from a job, a change, a message or a start, which have no
    /// status.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            CallFailure::Call(error) => Some(error.status()),
            CallFailure::Job(_) | CallFailure::Start(_) => None,
        }
    }

    /// Returns the identifier of the error, such as `deadline-exceeded`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            CallFailure::Call(error) => error.code(),
            CallFailure::Job(JobError::Retry(_)) => "retry",
            CallFailure::Job(JobError::Reject(_)) => "rejected",
            CallFailure::Job(JobError::Other(_)) => "other",
            CallFailure::Start(_) => "refused",
        }
    }

    /// Returns a one-line description of the reason.
    #[must_use]
    pub fn message(&self) -> String {
        let text = match self {
            CallFailure::Call(error) => return error.message(),
            CallFailure::Job(JobError::Retry(Some(ms))) => return format!("again in {ms} ms"),
            CallFailure::Job(JobError::Retry(None)) => {
                return "again at a time that the host chooses".to_owned();
            }
            CallFailure::Job(JobError::Reject(reason) | JobError::Other(reason))
            | CallFailure::Start(reason) => reason,
        };
        super::record::escaped(text)
    }
}

impl ExportCall<'_> {
    /// Returns the name of the call in the log.
    pub(super) fn name(&self) -> &str {
        match self {
            ExportCall::Method { name, .. } | ExportCall::Job { name, .. } => name,
            ExportCall::Changed { .. } => "desired.changed",
            ExportCall::Message { .. } => "messages.receive",
            ExportCall::Start { .. } => "lifecycle.start",
        }
    }

    /// Makes the call. `call.method` must be equal to [`name`](ExportCall::name). `version` is
    /// the version of the desired properties.
    pub(super) async fn run(
        &self,
        plugin: &Plugin,
        mut call: Call<'_>,
        version: u64,
    ) -> Result<Option<Answer>, CallFailure> {
        match self {
            ExportCall::Method { payload, .. } => {
                let answer = plugin.invoke(Call { payload, ..call }).await;
                answer.map(Some).map_err(CallFailure::Call)
            }
            ExportCall::Job { payload, attempt, boot_outcome, .. } => {
                (call.attempt, call.boot_outcome) = (*attempt, *boot_outcome);
                let result = plugin.run_job(Call { payload, ..call }).await;
                without_answer(result, CallFailure::Job)
            }
            ExportCall::Changed { patch } => {
                let payload = serde_json::to_string(patch).expect("a patch is JSON");
                let result =
                    plugin.desired_changed(Call { payload: &payload, ..call }, version).await;
                without_answer(result, CallFailure::Job)
            }
            ExportCall::Message { body, properties, attempt } => {
                call.attempt = *attempt;
                let result = plugin.receive_message(call, body, properties).await;
                without_answer(result, CallFailure::Job)
            }
            ExportCall::Start { previous_version } => {
                without_answer(plugin.start(call, *previous_version).await, CallFailure::Start)
            }
        }
    }
}

/// Flattens the result of a call that has no answer.
fn without_answer<E>(
    result: Result<Result<(), E>, CallError>,
    failure: impl FnOnce(E) -> CallFailure,
) -> Result<Option<Answer>, CallFailure> {
    match result {
        Ok(Ok(())) => Ok(None),
        Ok(Err(error)) => Err(failure(error)),
        Err(error) => Err(CallFailure::Call(error)),
    }
}

#[cfg(test)]
mod tests {
    use plugin::PluginSettings;

    use super::*;
    use crate::desk::{Desk, engine};

    #[test]
    fn a_call_of_a_missing_export_has_its_own_status_and_code() {
        let guest = fixtures::guest("sleeps.wat");
        let plugin = engine(0).unwrap().load("p", &guest, PluginSettings::default()).unwrap();
        let job = ExportCall::Job {
            name: "job",
            payload: "null",
            attempt: 1,
            boot_outcome: BootOutcome::NotWaitedFor,
        };
        let changed = ExportCall::Changed { patch: &Map::new() };
        let message = ExportCall::Message { body: b"", properties: &[], attempt: 1 };
        for call in [job, changed, message, ExportCall::Start { previous_version: None }] {
            let failure = Desk::default().call(&plugin, &call).answer.unwrap_err();
            assert_eq!((failure.status(), failure.code()), (Some(501), "no-export"), "{call:?}");
        }
    }
}
