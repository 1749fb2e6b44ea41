//! Tests of the hub through its ports, with real clients.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod client;
mod client5;
mod cloud_to_device;
mod device_https;
mod devices;
mod events;
mod explorer;
mod faults;
mod modules;
mod mqtt5;
mod names;
mod provisioning;
