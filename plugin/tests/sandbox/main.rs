//! The sandbox as its callers see it: real components, a real engine, and a host
//! that lends what it remembers.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

mod budget;
mod bursts;
mod calls;
mod frozen;
mod host_faults;
mod http;
mod inspecting;
mod lasting;
mod lending;
mod limits;
mod loading;
mod rig;
mod wasi;
