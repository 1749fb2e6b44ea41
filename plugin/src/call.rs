//! One call of a plugin: its description, and its state while it runs.
//!
//! The state lives in the store of the call's instance, and ends with it. The
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

/// A function to call, its arguments, and the handles that the plugin may use
/// meanwhile.
#[derive(Clone)]
pub struct Call<'a> {
    /// The id of the call, in every log line of it.
    pub id: Arc<str>,
    /// The name of the method or job. It is in every log line, and may have a
    /// deadline of its own.
    pub method: &'a str,
    /// JSON text, any value.
    pub payload: &'a str,
    /// 1 for a method, and for the first attempt of anything else.
    pub attempt: u32,
    /// The outcome of the boot that a job waited for.
    pub boot_outcome: BootOutcome,
    /// The handles that the plugin may use.
    pub lent: Arc<Lent>,
}

/// A plugin's answer to a method.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status, from 100 to 599.
    pub status: u16,
    /// The payload as the plugin wrote it, without the white space around it.
    pub payload: Option<Json>,
}
