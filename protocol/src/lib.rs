//! The words of Azure IoT Hub: parsed, checked and printed in one place.
//!
//! The host parses what the hub prints, the hub parses what the host prints,
//! and the service signs what the hub checks; all three take the words from
//! here. Every type parses with `FromStr` (or `parse`) and prints with
//! `Display`, both in one file, held together by round-trip tests.
//!
//! It does no I/O and asks no clock: time is an argument. It knows no MQTT
//! packet and no HTTP request, only what stands inside them.

pub mod connection_string;
pub mod error;
pub mod host_name;
pub mod id;
pub mod method;
pub mod properties;
pub mod registry;
pub mod rest;
pub mod sas;
pub mod topic;
pub mod twin;
pub mod user_name;

mod percent;
