//! Answers to methods that no plugin has answered: the table of failures in
//! ARCHITECTURE.md. The rows about the end of a call itself are in `plugin`.

use plugin::CallError;
use protocol::id::MethodName;

use crate::plugins::slot::{CallOutcome, Disabled};

pub(super) enum MethodFailure {
    UnknownMethod,
    Draining,
    Disabled(Disabled),
    PayloadNotText,
    Call(CallError),
}

impl MethodFailure {
    /// Status, `error` and message.
    pub(super) fn to_words(&self, method: &MethodName) -> (i32, &'static str, String) {
        let error = match self {
            MethodFailure::UnknownMethod => {
                return (404, "unknown-method", format!("no plugin serves `{method}`"));
            }
            MethodFailure::Disabled(why @ Disabled::Loading) => {
                return (503, "loading", why.to_string());
            }
            MethodFailure::Disabled(why) => return (503, "disabled", why.to_string()),
            MethodFailure::Draining => return (503, "draining", "the host is stopping".to_owned()),
            MethodFailure::PayloadNotText => {
                return (400, "invalid-payload", "payload is not UTF-8".to_owned());
            }
            MethodFailure::Call(error) => error,
        };
        (i32::from(error.status()), error.word(), error.message())
    }
}

/// Returns what an error means for the plugin's health.
pub(super) fn outcome(error: Option<&CallError>) -> CallOutcome {
    match error {
        None => CallOutcome::Answered,
        Some(CallError::Refused(_)) => CallOutcome::Refused,
        Some(
            CallError::PayloadNotJson(_)
            | CallError::PayloadTooLarge { .. }
            | CallError::NoExport(_),
        ) => CallOutcome::Invalid,
        Some(CallError::Busy { .. } | CallError::NoInstance(_) | CallError::NoMemory { .. }) => {
            CallOutcome::Busy
        }
        Some(CallError::DeadlineExceeded(_)) => CallOutcome::DeadlineExceeded,
        Some(CallError::OutOfMemory { .. }) => CallOutcome::OutOfMemory,
        Some(CallError::Trapped(_)) => CallOutcome::Trapped,
        Some(CallError::HostFault(_)) => CallOutcome::HostFault,
        Some(
            CallError::AnswerNotJson(_)
            | CallError::AnswerTooLarge { .. }
            | CallError::AnswerStatus(_),
        ) => CallOutcome::BadAnswer,
    }
}
