//! A call of a plugin and its state.
//!
//! The state is stored in the `Store` of the call's instance and dropped with it. The
//! [`interfaces`](crate::interfaces) read and change it.

pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod memory;
pub(crate) mod state;
pub(crate) mod stdio;
pub(crate) mod wasi;

use crate::{BootOutcome, Lent};
use json::Json;
use std::sync::Arc;

/// A function to call, its arguments, and the handles that the plugin can use.
#[derive(Clone)]
pub struct Call<'a> {
    /// Id of the call, included in every log line.
    pub id: Arc<str>,
    /// Name of the method or job, included in every log line. A method can have its own
    /// deadline.
    pub method: &'a str,
    /// Payload: any JSON value, as JSON text.
    pub payload: &'a str,
    /// Number of the attempt: 1 for a method and for the first attempt of any other call.
    pub attempt: u32,
    /// Outcome of the boot that a job waited for.
    pub boot_outcome: BootOutcome,
    /// Context of the trace to which the call belongs, as `traceparent` of W3C Trace Context.
    pub trace_parent: Option<String>,
    /// Handles that the host provides.
    pub lent: Arc<Lent>,
}

/// A plugin's response to a method.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status, from 100 to 599.
    pub status: u16,
    /// Payload as written by the plugin, without surrounding white space.
    pub payload: Option<Json>,
}
