//! The device as the behaviour sees it: everything that a call or a job may do to
//! the world.
//!
//! The component implements these traits with the interfaces of the host, tests
//! with a recorder of effects.

use std::time::Duration;

/// The effects that a reboot may have on the device.
pub trait Device {
    /// Writes one line to the log.
    fn log(&mut self, message: &str);

    /// Waits. An error is the reason why the wait was cut short.
    fn sleep(&mut self, delay: Duration) -> Result<(), String>;

    /// Returns the current time, as RFC 3339 text.
    fn now(&mut self) -> String;

    /// Reports a change of the twin, a JSON object. An error is the reason of a refusal.
    fn report(&mut self, patch: &str) -> Result<ReportProgress, String>;
}

/// The progress of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportProgress {
    /// Delivered to the hub.
    Updated,
    /// Persisted by the host; the hub cannot be reached at the moment.
    Queued,
}

/// A device whose machine can be rebooted.
pub trait RebootableDevice: Device {
    /// Requests a job for the time after the next boot, or after `within` if there
    /// is none by then. Returns the job's id. An error is the reason of a refusal.
    fn after_boot(&mut self, job: &str, within: Duration) -> Result<String, String>;

    /// Cancels a job.
    fn cancel(&mut self, job_id: &str);

    /// Requests the reboot, after `delay`. An error is the reason of a refusal.
    fn request_reboot(&mut self, delay: Duration) -> Result<(), String>;
}
