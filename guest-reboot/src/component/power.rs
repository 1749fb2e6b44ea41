//! The parts of the component that need the capability `power`: the reboot and its job.

use std::time::Duration;

use super::device::behaviour::types::JobError;
use super::device::behaviour::{config, jobs, power};
use super::exports::device::behaviour::deferred::Guest;
use super::{Host, RebootPlugin, milliseconds, text};
use crate::device::RebootableDevice;
use crate::real::{self, JobFailure};
use crate::settings::RebootSettings;

impl Guest for RebootPlugin {
    fn run(name: String, _payload: String) -> Result<(), JobError> {
        if name != real::JOB {
            return Err(JobError::Reject(["unknown job `", &name, "`"].concat()));
        }
        let rebooted = jobs::boot_outcome_of_current() == jobs::BootOutcome::Rebooted;
        let settings = RebootSettings::parse(&config::entries());
        real::report_outcome(&mut Host, rebooted, settings)
            .map_err(|JobFailure(reason)| JobError::Other(reason))
    }
}

impl RebootableDevice for Host {
    fn after_boot(&mut self, job: &str, within: Duration) -> Result<String, String> {
        jobs::after_boot(job, "null", milliseconds(within)).map_err(text)
    }

    fn cancel(&mut self, job_id: &str) {
        // A job that cannot be cancelled reports that there was no reboot, which is true.
        jobs::cancel(job_id).ok();
    }

    fn request_reboot(&mut self, delay: Duration) -> Result<(), String> {
        power::request_reboot(milliseconds(delay), "requested by a method").map_err(text)
    }
}
