//! The device from the behaviour's point of view: all effects of a call or a job.
//!
//! The component implements these traits with the host's interfaces, and tests with a
//! recorder of effects.

use std::time::Duration;

/// Effects of a simulated reboot.
pub trait Device {
    /// Writes one line to the log.
    fn log(&mut self, message: &str);

    /// Waits for `delay`. The error is the reason why the wait ended early.
    fn sleep(&mut self, delay: Duration) -> Result<(), String>;

    /// Returns the current time as RFC 3339 text.
    fn now(&mut self) -> String;

    /// Reports `patch`, a JSON object, to the twin. The error is the reason for a refusal.
    fn report(&mut self, patch: &str) -> Result<ReportProgress, String>;
}

/// Progress of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportProgress {
    /// Acceptance by the hub.
    Updated,
    /// Persistence on the host, which sends the report after the next connection to the hub.
    Queued,
}

/// Effects of a real reboot.
pub trait RebootableDevice: Device {
    /// Schedules a job that runs after the next boot, or after `within` if the machine has not
    /// booted by then. Returns the job's id. The error is the reason for a refusal.
    fn after_boot(&mut self, job: &str, within: Duration) -> Result<String, String>;

    /// Cancels a job.
    fn cancel(&mut self, job_id: &str);

    /// Requests a reboot after `delay`. The error is the reason for a refusal.
    fn request_reboot(&mut self, delay: Duration) -> Result<(), String>;
}
