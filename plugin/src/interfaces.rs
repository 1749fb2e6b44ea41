//! Interfaces of the world `behaviour`, one per file.
//!
//! Each interface checks its arguments against the call's limits and passes them to the
//! [`Lent`](crate::Lent) handles. An invalid argument results in an error, never in a trap.

mod bindings;
mod clock;
mod config;
mod context;
mod http;
mod jobs;
mod log;
mod metrics;
mod power;
mod state;
mod telemetry;
mod twin;
mod wasi;
mod wasi_http;

use crate::call::state::CallState;
use crate::{Capability, HostError, JobError, Refusal};
use wasmtime::component::{HasSelf, Linker};

pub(crate) use bindings::BehaviourPre;
pub(crate) use bindings::deferred::WithDeferredPre;
pub(crate) use bindings::desired::WithDesiredPre;
pub(crate) use bindings::device::behaviour::types::Response;
use bindings::device::behaviour::types::{
    Error, Host as TypesHost, JobError as WitJobError, MethodError,
};
pub(crate) use bindings::lifecycle::WithLifecyclePre;
pub(crate) use bindings::messages::WithMessagesPre;

/// Adds the default world to a linker.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    bindings::Behaviour::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

/// Adds WASI to a linker.
pub(crate) fn add_wasi_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasi::add_to_linker(linker)
}

/// Adds `wasi:http` to a linker.
pub(crate) fn add_wasi_http_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasi_http::add_to_linker(linker)
}

/// Adds the interface of a capability to a linker.
pub(crate) fn add_capability_to_linker(
    capability: Capability,
    linker: &mut Linker<CallState>,
) -> wasmtime::Result<()> {
    match capability {
        Capability::Power => power::add_to_linker(linker),
        Capability::Http => http::add_to_linker(linker),
    }
}

impl TypesHost for CallState {}

impl From<HostError> for Error {
    fn from(error: HostError) -> Error {
        match error {
            HostError::Denied(text) => Error::Denied(text),
            HostError::Invalid(text) => Error::Invalid(text),
            HostError::TooLarge(text) => Error::TooLarge(text),
            HostError::QuotaExceeded(text) => Error::QuotaExceeded(text),
            HostError::Offline => Error::Offline,
            HostError::Timeout => Error::Timeout,
            HostError::Throttled(retry_ms) => Error::Throttled(retry_ms),
            HostError::Other(text) => Error::Other(text),
        }
    }
}

impl From<MethodError> for Refusal {
    fn from(error: MethodError) -> Refusal {
        match error {
            MethodError::InvalidPayload(text) => Refusal::InvalidPayload(text),
            MethodError::UnknownMethod => Refusal::UnknownMethod,
            MethodError::Busy(retry_ms) => Refusal::Busy(retry_ms),
            MethodError::Failed(text) => Refusal::Failed(text),
            MethodError::Other(text) => Refusal::Other(text),
        }
    }
}

impl From<WitJobError> for JobError {
    fn from(error: WitJobError) -> JobError {
        match error {
            WitJobError::Retry(after_ms) => JobError::Retry(after_ms),
            WitJobError::Reject(text) => JobError::Reject(text),
            WitJobError::Other(text) => JobError::Other(text),
        }
    }
}

/// Checks the size of an argument, in bytes, against its limit.
fn check_size(argument: &str, bytes: usize, limit_bytes: usize) -> Result<(), HostError> {
    if bytes > limit_bytes {
        return Err(HostError::TooLarge(format!(
            "{argument} has {bytes} bytes; {limit_bytes} are allowed"
        )));
    }
    Ok(())
}
