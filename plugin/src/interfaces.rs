//! The interfaces of the world `behaviour`, one a file.
//!
//! Each checks its arguments against the call's limits and passes them on to the
//! [`Lent`](crate::Lent) handles. None of them traps: a guest gets an error.

mod bindings;
mod clock;
mod config;
mod context;
mod http;
mod jobs;
mod log;
mod power;
mod state;
mod telemetry;
mod twin;
mod wasi;

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

/// Lends the default world.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    bindings::Behaviour::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

/// Lends the closed WASI.
pub(crate) fn add_wasi_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasi::add_to_linker(linker)
}

/// Lends what was granted beyond the default world.
pub(crate) fn grant(
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

/// Refuses an argument that is longer than allowed.
fn check_size(what: &str, bytes: usize, limit_bytes: usize) -> Result<(), HostError> {
    if bytes > limit_bytes {
        return Err(HostError::TooLarge(format!(
            "{what} has {bytes} bytes; {limit_bytes} are allowed"
        )));
    }
    Ok(())
}
