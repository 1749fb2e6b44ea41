//! Tests of the sandbox through its public interface, with real components, a real engine, and a
//! host that records the plugins' actions.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod budget;
mod bursts;
mod calls;
mod compiled;
mod frozen;
mod host_faults;
mod http;
mod inspecting;
mod lasting;
mod lending;
mod limits;
mod loading;
mod metrics;
mod requests;
mod rig;
mod wasi;
