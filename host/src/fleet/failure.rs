//! Failures of an activation, with the reason codes that are reported.

use std::time::Duration;

use crate::config::desired::NotAllowed;

/// Failure of an activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Consequence,
    /// Short name for programs.
    pub(crate) reason: &'static str,
    /// Message for people.
    pub(crate) message: String,
}

/// Consequence of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consequence {
    /// Another attempt, after the time that a registry has asked for, if it has.
    Retry(Option<Duration>),
    /// No other attempt until the entry changes.
    Refused,
    /// The same, for a version that was in force and is replaced by the one before.
    Unhealthy,
    /// No other attempt until the entry or the trusted keys change.
    Untrusted,
    /// No other attempt until the entry or the configuration changes.
    NotAllowed,
}

impl Failure {
    pub(crate) fn retry(reason: &'static str, message: impl ToString) -> Failure {
        Failure { kind: Consequence::Retry(None), reason, message: message.to_string() }
    }

    pub(crate) fn refused(reason: &'static str, message: impl ToString) -> Failure {
        Failure { kind: Consequence::Refused, reason, message: message.to_string() }
    }

    pub(crate) fn unhealthy(message: impl ToString) -> Failure {
        let message = message.to_string();
        Failure { kind: Consequence::Unhealthy, reason: "unhealthy", message }
    }

    pub(crate) fn not_allowed(reason: &'static str, message: impl ToString) -> Failure {
        Failure { kind: Consequence::NotAllowed, reason, message: message.to_string() }
    }

    pub(crate) fn untrusted(reason: &'static str, message: impl ToString) -> Failure {
        Failure { kind: Consequence::Untrusted, reason, message: message.to_string() }
    }
}

impl From<NotAllowed> for Failure {
    fn from(error: NotAllowed) -> Failure {
        let NotAllowed { code, message } = error;
        Failure { kind: Consequence::NotAllowed, reason: code, message }
    }
}
