//! `device:behaviour/clock`: the current time, and sleeping.

use super::Error;
use super::bindings::device::behaviour::clock::Host;
use crate::call::state::CallState;
use std::time::Duration;

impl Host for CallState {
    fn now_ms(&mut self) -> u64 {
        self.lent.clock.now().as_millisecond().try_into().unwrap_or(0)
    }

    fn now_rfc3339(&mut self) -> String {
        format!("{:.3}", self.lent.clock.now())
    }

    async fn sleep_ms(&mut self, duration: u32) -> Result<(), Error> {
        self.lent.clock.sleep(Duration::from_millis(duration.into())).await;
        Ok(())
    }
}
