//! `device:behaviour/power`: the machine's power.

use super::Error;
use super::bindings::power::device::behaviour::power::Host;
use super::check_size;
use crate::call::log::safe_line;
use crate::call::state::CallState;
use std::time::Duration;

/// A reason is a line of a log.
const REASON_BYTES: usize = 1024;

impl Host for CallState {
    async fn request_reboot(&mut self, delay_ms: u32, reason: String) -> Result<(), Error> {
        check_size("reason", reason.len(), REASON_BYTES)?;
        let delay = Duration::from_millis(delay_ms.into());
        let power = &self.lent.power;
        Ok(power.request_reboot(&self.plugin.name, delay, &safe_line(&reason)).await?)
    }
}
