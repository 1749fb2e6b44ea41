//! Power over nothing: a reboot that is asked for is noted, and the jobs that
//! wait for a boot are told of one; the machine stays on.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use parking_lot::{Mutex, MutexGuard};
use plugin::{HostError, Power};
use tokio::time::Instant;

use super::record::{Record, What, milliseconds};

pub(super) struct Switch {
    boots: Mutex<Boots>,
    record: Arc<Record>,
}

#[derive(Default)]
struct Boots {
    /// The time of the next boot.
    next: Option<Instant>,
    /// The time of the last boot.
    last: Option<Instant>,
}

impl Switch {
    pub(super) fn new(record: Arc<Record>) -> Switch {
        Switch { boots: Mutex::default(), record }
    }

    pub(super) fn next_boot(&self) -> Option<Instant> {
        self.lock().next
    }

    pub(super) fn last_boot(&self) -> Option<Instant> {
        self.lock().last
    }

    /// Says that the machine has booted: now.
    pub(super) fn boot(&self) {
        *self.lock() = Boots { next: None, last: Some(Instant::now()) };
        self.record.keep(What::Booted);
    }

    fn lock(&self) -> MutexGuard<'_, Boots> {
        self.boots.lock()
    }
}

impl Power for Switch {
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
        self.record.keep(What::RebootAsked { delay_ms: milliseconds(delay), reason });
        Box::pin(ready(Ok(())))
    }
}
