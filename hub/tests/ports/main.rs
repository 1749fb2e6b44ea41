//! Tests of the hub through its ports, as devices and services use it.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod client;
mod devices;
mod faults;
