//! Answers to methods that no plugin has answered: the table of failures in
//! ARCHITECTURE.md. The rows about the end of a call itself are in `plugin`.

use plugin::CallError;
use protocol::id::MethodName;

use crate::plugins::slot::{Disabled, Outcome};

pub(super) enum Failure {
    UnknownMethod,
    Draining,
    Disabled(Disabled),
    PayloadNotText,
    Call(CallError),
}

impl Failure {
    /// Status, `error` and message.
    pub(super) fn to_words(&self, method: &MethodName) -> (i32, &'static str, String) {
        let error = match self {
            Failure::UnknownMethod => {
                return (404, "unknown-method", format!("no plugin serves `{method}`"));
            }
            Failure::Disabled(why) => return (503, "disabled", why.to_string()),
            Failure::Draining => return (503, "draining", "the host is stopping".to_owned()),
            Failure::PayloadNotText => {
                return (400, "invalid-payload", "payload is not UTF-8".to_owned());
            }
            Failure::Call(error) => error,
        };
        (i32::from(error.status()), error.word(), error.message())
    }
}

/// Returns what an error means for the plugin's health.
pub(super) fn outcome(error: Option<&CallError>) -> Outcome {
    match error {
        None => Outcome::Answered,
        Some(CallError::Refused(_)) => Outcome::Refused,
        Some(
            CallError::PayloadNotJson(_)
            | CallError::PayloadTooLarge { .. }
            | CallError::NoExport(_),
        ) => Outcome::Invalid,
        Some(CallError::Busy { .. } | CallError::NoInstance(_)) => Outcome::Busy,
        Some(CallError::DeadlineExceeded(_)) => Outcome::DeadlineExceeded,
        Some(CallError::OutOfMemory { .. }) => Outcome::OutOfMemory,
        Some(CallError::Trapped(_)) => Outcome::Trapped,
        Some(CallError::HostFault(_)) => Outcome::HostFault,
        Some(
            CallError::AnswerNotJson(_)
            | CallError::AnswerTooLarge { .. }
            | CallError::AnswerStatus(_),
        ) => Outcome::BadAnswer,
    }
}
