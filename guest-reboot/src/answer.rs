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
    /// The payload requests something that the method cannot do, for the given reason.
    InvalidPayload(String),
    /// The plugin does not implement the method.
    UnknownMethod,
    /// The settings are invalid, or the device refused, for the given reason.
    Failed(String),
}

/// Returns the refusal `subject: reason`.
pub(crate) fn failed(subject: &str, reason: &str) -> MethodRefusal {
    MethodRefusal::Failed([subject, ": ", reason].concat())
}
