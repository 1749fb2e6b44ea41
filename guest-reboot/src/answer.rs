//! Outcomes of a call: answers and refusals.

/// An answer to a method.
#[derive(Debug, PartialEq, Eq)]
pub struct MethodAnswer {
    /// Status, similar to HTTP.
    pub status: u16,
    /// Payload, as JSON text.
    pub payload: String,
}

/// A refusal of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum MethodRefusal {
    /// Invalid payload, with the reason.
    InvalidPayload(String),
    /// Method that the plugin does not implement.
    UnknownMethod,
    /// Invalid settings or an operation that the device refused, with the reason.
    Failed(String),
}

/// Returns the refusal `subject: reason`.
pub(crate) fn failed(subject: &str, reason: &str) -> MethodRefusal {
    MethodRefusal::Failed([subject, ": ", reason].concat())
}
