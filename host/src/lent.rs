//! Implementations of the handles that the sandbox lends to calls ([`plugin::Lent`]).
//!
//! Each handle has a file, named as in `plugin/src/lent`. [`durable`] opens the handles whose
//! data survive a restart, [`clock`] provides their time, and [`size`] estimates the memory of
//! their queues. The handles do not depend on the
//! running method or on the router: each request contains the name of its plugin.

pub(crate) mod clock;
pub(crate) mod durable;
pub(crate) mod http;
pub(crate) mod jobs;
pub(crate) mod log;
pub(crate) mod metrics;
pub(crate) mod power;
pub(crate) mod size;
pub(crate) mod state;
pub(crate) mod telemetry;
pub(crate) mod traced;
pub(crate) mod twin;
