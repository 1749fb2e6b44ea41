//! Tests of the hub through its ports, with real clients.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod client;
mod devices;
mod events;
mod faults;
mod provisioning;
