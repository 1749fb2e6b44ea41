//! The answer to a method.

use std::sync::Arc;

/// Answer to a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    /// JSON.
    pub(crate) body: String,
    /// The id of the call.
    pub(crate) call: Arc<str>,
}
