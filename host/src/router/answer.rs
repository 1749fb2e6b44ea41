//! The answer to a method.

use std::sync::Arc;

/// The answer to a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    /// The payload, as JSON.
    pub(crate) body: String,
    /// The id of the call.
    pub(crate) call: Arc<str>,
}
