//! A clock that advances only while the plugin waits.
//!
//! The clock uses tokio's paused time, which advances to the next timer when all tasks are
//! idle. The deadline of a call and the timers of WASI use the same clock.

use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use plugin::Clock;
use tokio::time::Instant;

pub(super) struct VirtualClock {
    epoch: Timestamp,
    started: Instant,
}

impl VirtualClock {
    /// Creates a clock that shows `epoch` now and follows the current runtime's time.
    pub(super) fn new(epoch: Timestamp) -> VirtualClock {
        VirtualClock { epoch, started: Instant::now() }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        // The last `Timestamp` is in the year 9999.
        self.epoch.saturating_add(self.started.elapsed()).unwrap_or(Timestamp::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
