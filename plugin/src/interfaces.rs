//! The interfaces of the world `behaviour`, one a file: what a guest's call of
//! the host does.
//!
//! Each checks its arguments against the call's limits and passes on to what
//! was [`Lent`](crate::Lent). None of them traps: a guest is told no.

mod clock;
mod config;
mod context;
mod log;
mod telemetry;
mod twin;

use crate::HostError;
use crate::state::CallState;
use wasmtime::component::{HasSelf, Linker};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        world: "behaviour",
        imports: {
            "device:behaviour/clock.sleep-ms": async,
            "device:behaviour/twin.report-and-wait": async,
        },
        exports: { default: async },
    });
}

pub(crate) use bindings::BehaviourPre;
use bindings::device::behaviour::types::{Error, Host as TypesHost};
pub(crate) use bindings::device::behaviour::types::{MethodError, Response};

pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    bindings::Behaviour::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
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

/// That an argument is no longer than it may be.
fn check_size(what: &str, bytes: usize, limit_bytes: usize) -> Result<(), HostError> {
    if bytes > limit_bytes {
        return Err(HostError::TooLarge(format!(
            "{what} has {bytes} bytes; {limit_bytes} are allowed"
        )));
    }
    Ok(())
}
