//! Simulated reboots. The request is recorded, and jobs that wait for a boot can run. The
//! machine itself is not rebooted.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use parking_lot::{Mutex, MutexGuard};
use plugin::{HostError, Power};
use tokio::time::Instant;

use super::record::{Action, Record, milliseconds};

pub(super) struct SimulatedPower {
    /// The time of the next boot, if a reboot was requested.
    next_boot: Mutex<Option<Instant>>,
    record: Arc<Record>,
}

impl SimulatedPower {
    pub(super) fn new(record: Arc<Record>) -> SimulatedPower {
        SimulatedPower { next_boot: Mutex::default(), record }
    }

    pub(super) fn next_boot(&self) -> Option<Instant> {
        *self.lock()
    }

    /// Simulates a boot now, which completes a requested reboot.
    pub(super) fn boot(&self) {
        *self.lock() = None;
        self.record.add(Action::Booted);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.next_boot.lock()
    }
}

impl Power for SimulatedPower {
    fn request_reboot<'a>(
        &'a self,
        plugin: &'a str,
        delay: Duration,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        let mut next_boot = self.lock();
        if next_boot.is_some() {
            let message = format!("a reboot is pending already, for `{plugin}`");
            return Box::pin(ready(Err(HostError::QuotaExceeded(message))));
        }
        *next_boot = Some(Instant::now() + delay);
        drop(next_boot);
        let reason = reason.to_owned();
        self.record.add(Action::RebootAsked { delay_ms: milliseconds(delay), reason });
        Box::pin(ready(Ok(())))
    }
}
