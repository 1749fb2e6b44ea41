//! `device:behaviour/jobs`: work that outlives the call.

use super::bindings::device::behaviour::jobs::{BootOutcome as WitBootOutcome, Host};
use super::{Error, check_size};
use crate::call::state::CallState;
use crate::{BootOutcome, HostError, JobWhen, NewJob};
use json::affects_display;
use std::time::Duration;

/// Maximum length of a job's name or id, in bytes. Both appear in log lines.
const MAX_NAME_BYTES: usize = 128;

impl Host for CallState {
    async fn after_response(&mut self, name: String, payload: String) -> Result<String, Error> {
        Ok(self.add_job(name, payload, JobWhen::AfterResponse).await?)
    }

    async fn after_delay(
        &mut self,
        name: String,
        payload: String,
        delay_ms: u32,
    ) -> Result<String, Error> {
        let delay = Duration::from_millis(delay_ms.into());
        Ok(self.add_job(name, payload, JobWhen::AfterDelay(delay)).await?)
    }

    async fn after_boot(
        &mut self,
        name: String,
        payload: String,
        within_ms: u32,
    ) -> Result<String, Error> {
        let within = Duration::from_millis(within_ms.into());
        Ok(self.add_job(name, payload, JobWhen::AfterBoot { within }).await?)
    }

    async fn cancel(&mut self, id: String) -> Result<bool, Error> {
        check_size("job id", id.len(), MAX_NAME_BYTES)?;
        Ok(self.lent.jobs.cancel(&self.plugin.name, &id).await?)
    }

    fn boot_outcome_of_current(&mut self) -> WitBootOutcome {
        match self.boot_outcome {
            BootOutcome::NotWaitedFor => WitBootOutcome::NotWaitedFor,
            BootOutcome::Rebooted => WitBootOutcome::Rebooted,
            BootOutcome::HostRestartedOnly => WitBootOutcome::HostRestartedOnly,
            BootOutcome::Expired => WitBootOutcome::Expired,
        }
    }
}

impl CallState {
    async fn add_job(
        &mut self,
        name: String,
        payload: String,
        when: JobWhen,
    ) -> Result<String, HostError> {
        if !self.plugin.exports.deferred {
            let reason = "jobs need the export `deferred`, which the plugin does not have";
            return Err(HostError::Invalid(reason.to_owned()));
        }
        if name.is_empty() || name.contains(affects_display) {
            let reason = "the job's name is empty or contains control characters";
            return Err(HostError::Invalid(reason.to_owned()));
        }
        check_size("name", name.len(), MAX_NAME_BYTES)?;
        check_size("payload", payload.len(), self.plugin.limits.payload_bytes)?;
        json::check(&payload).map_err(|error| HostError::Invalid(format!("payload {error}")))?;
        self.count_job()?;
        let job = NewJob { name, payload, when };
        self.lent.jobs.add(&self.plugin.name, &self.log.call, job, self.plugin.limits.jobs).await
    }
}
