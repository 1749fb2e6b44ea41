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
    boots: Mutex<Boots>,
    record: Arc<Record>,
}

#[derive(Default)]
struct Boots {
    /// The time of the next boot, if a reboot was requested.
    next: Option<Instant>,
    /// The time of the last simulated boot.
    last: Option<Instant>,
}

impl SimulatedPower {
    pub(super) fn new(record: Arc<Record>) -> SimulatedPower {
        SimulatedPower { boots: Mutex::default(), record }
    }

    pub(super) fn next_boot(&self) -> Option<Instant> {
        self.lock().next
    }

    pub(super) fn last_boot(&self) -> Option<Instant> {
        self.lock().last
    }

    /// Simulates a boot now.
    pub(super) fn boot(&self) {
        *self.lock() = Boots { next: None, last: Some(Instant::now()) };
        self.record.add(Action::Booted);
    }

    fn lock(&self) -> MutexGuard<'_, Boots> {
        self.boots.lock()
    }
}

impl Power for SimulatedPower {
    fn request_reboot<'a>(
        &'a self,
        plugin: &'a str,
        delay: Duration,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        let mut boots = self.lock();
        if boots.next.is_some() {
            let why = format!("a reboot is pending already, for `{plugin}`");
            return Box::pin(ready(Err(HostError::QuotaExceeded(why))));
        }
        boots.next = Some(Instant::now() + delay);
        drop(boots);
        let reason = reason.to_owned();
        self.record.add(Action::RebootAsked { delay_ms: milliseconds(delay), reason });
        Box::pin(ready(Ok(())))
    }
}
