//! The outcome of a call: an answer or a refusal.

/// An answer to the caller of a method.
#[derive(Debug, PartialEq, Eq)]
pub struct MethodAnswer {
    /// The status, HTTP-like.
    pub status: u16,
    /// The payload, as JSON text.
    pub payload: String,
}

/// A refusal of a call.
#[derive(Debug, PartialEq, Eq)]
pub enum MethodRefusal {
    /// A payload that asks for something this method cannot do; the reason.
    InvalidPayload(String),
    /// A method that this plugin does not serve.
    UnknownMethod,
    /// Wrong settings, or a device that refused; the reason.
    Failed(String),
}

/// Returns the refusal `subject: reason`.
pub(crate) fn failed(subject: &str, reason: &str) -> MethodRefusal {
    MethodRefusal::Failed([subject, ": ", reason].concat())
}
