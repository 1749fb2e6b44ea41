//! Implementations of the handles that the sandbox lends to calls ([`plugin::Lent`]).
//!
//! One file for each handle, named as in `plugin/src/lent`. [`durable`] opens those
//! that outlive the process, and [`clock`] has their time. Nothing here knows which method is running or which
//! plugin serves it: a handle is given the plugin's name with each request.

pub(crate) mod clock;
pub(crate) mod durable;
pub(crate) mod http;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod power;
pub(crate) mod state;
pub(crate) mod telemetry;
pub(crate) mod twin;
