//! The hub from outside: what devices and services meet at its ports.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod client;
mod devices;
mod faults;
