//! Answers to methods that no plugin has answered, as in the table of failures in
//! ARCHITECTURE.md. The crate `plugin` defines the rows for failed calls.

use plugin::CallError;
use protocol::id::MethodName;

use crate::plugins::slot::{CallOutcome, Disabled};

/// Reason why no plugin has answered a method.
pub(super) enum MethodFailure {
    /// A method that no plugin serves.
    UnknownMethod,
    /// Stopping host, which accepts no calls.
    Draining,
    /// Disabled plugin, which accepts no calls.
    Disabled(Disabled),
    /// A payload that is not UTF-8.
    PayloadNotText,
    /// A failed call of the plugin.
    Call(CallError),
}

impl MethodFailure {
    /// Returns the answer's status, `error` code and message.
    pub(super) fn to_parts(&self, method: &MethodName) -> (i32, &'static str, String) {
        let error = match self {
            MethodFailure::UnknownMethod => {
                return (404, "unknown-method", format!("no plugin serves `{method}`"));
            }
            MethodFailure::Disabled(reason @ Disabled::Loading) => {
                return (503, "loading", reason.to_string());
            }
            MethodFailure::Disabled(reason) => return (503, "disabled", reason.to_string()),
            MethodFailure::Draining => return (503, "draining", "the host is stopping".to_owned()),
            MethodFailure::PayloadNotText => {
                return (400, "invalid-payload", "payload is not UTF-8".to_owned());
            }
            MethodFailure::Call(error) => error,
        };
        (i32::from(error.status()), error.code(), error.message())
    }
}

/// Classifies the end of a call for the plugin's health. `None` means success.
pub(super) fn outcome(error: Option<&CallError>) -> CallOutcome {
    match error {
        None => CallOutcome::Answered,
        Some(CallError::Refused(_)) => CallOutcome::Refused,
        Some(
            CallError::PayloadNotJson(_)
            | CallError::PayloadTooLarge { .. }
            | CallError::NoExport(_),
        ) => CallOutcome::Invalid,
        Some(
            CallError::Busy { .. } | CallError::NoInstance(_) | CallError::BudgetExhausted { .. },
        ) => CallOutcome::Busy,
        Some(CallError::DeadlineExceeded(_)) => CallOutcome::DeadlineExceeded,
        Some(CallError::OutOfMemory { .. }) => CallOutcome::OutOfMemory,
        Some(CallError::Trapped(_)) => CallOutcome::Trapped,
        Some(CallError::HostFault(_)) => CallOutcome::HostFault,
        Some(
            CallError::AnswerNotJson(_)
            | CallError::AnswerNotText
            | CallError::AnswerTooLarge { .. }
            | CallError::AnswerStatus(_),
        ) => CallOutcome::BadAnswer,
    }
}
