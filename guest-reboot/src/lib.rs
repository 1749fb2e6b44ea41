//! The first plugin: the reboot behaviour of Azure IoT Hub's tutorial.
//!
//! The logic is plain Rust and is tested natively. The component around it, built with
//! `behaviour build guest-reboot`, only translates between the logic and the interfaces of
//! the world `behaviour`.
//!
//! That component cannot reboot anything: it simulates a reboot by waiting, like the
//! tutorial. `behaviour build guest-reboot/real` builds another component from the same
//! sources. It reboots the machine if it has `mode = "real"` and the host grants it the
//! capability `power`.
//!
//! ```
//! use std::time::Duration;
//!
//! use guest_reboot::device::{Device, RebootableDevice, ReportProgress};
//! use guest_reboot::reboot::{METHOD, answer};
//! use guest_reboot::settings::RebootSettings;
//!
//! /// A device that only records its reports.
//! #[derive(Default)]
//! struct Recorder(Vec<String>);
//!
//! impl Device for Recorder {
//!     fn log(&mut self, _message: &str) {}
//!     fn sleep(&mut self, _delay: Duration) -> Result<(), String> {
//!         Ok(())
//!     }
//!     fn now(&mut self) -> String {
//!         "2026-01-31T23:59:59Z".to_owned()
//!     }
//!     fn report(&mut self, patch: &str) -> Result<ReportProgress, String> {
//!         self.0.push(patch.to_owned());
//!         Ok(ReportProgress::Updated)
//!     }
//! }
//!
//! impl RebootableDevice for Recorder {
//!     fn after_boot(&mut self, _job: &str, _within: Duration) -> Result<String, String> {
//!         Err("not granted".to_owned())
//!     }
//!     fn cancel(&mut self, _job_id: &str) {}
//!     fn request_reboot(&mut self, _delay: Duration) -> Result<(), String> {
//!         Err("not granted".to_owned())
//!     }
//! }
//!
//! let mut device = Recorder::default();
//! let answer = answer(&mut device, METHOD, "null", RebootSettings::parse(&[])).unwrap();
//! assert_eq!(answer.status, 200);
//! assert_eq!(device.0, [r#"{"rebootTime":"2026-01-31T23:59:59Z"}"#]);
//! ```
//!
//! `cargo run -p guest-reboot --example terminal` runs the behaviour in a terminal.
//!
//! # Layout
//!
//! * [`answer`]: outcomes of a call.
//! * [`device`]: effects of the behaviour.
//! * [`settings`]: settings by the operator.
//! * [`real`]: a real reboot, and the job that reports its outcome.
//! * [`reboot`]: the method `rebootDevice`, which uses all of them.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a panic fails the test"))]

pub mod answer;
pub mod device;
pub mod real;
pub mod reboot;
pub mod settings;

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "the generated bindings speak the component ABI")]
mod component;
