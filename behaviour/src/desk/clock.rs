//! A clock that stands still unless somebody waits for it.
//!
//! It is tokio's own paused time, which goes on to the next deadline when
//! nothing else is left to do: the deadline of a call and the timers of WASI
//! keep the same time.

use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use plugin::Clock;
use tokio::time::Instant;

use super::EPOCH;

pub(super) struct VirtualClock {
    epoch: Timestamp,
    began: Instant,
}

impl VirtualClock {
    /// Begins now, in the runtime whose time it keeps.
    pub(super) fn new() -> VirtualClock {
        VirtualClock {
            epoch: EPOCH.parse().expect("the constant is RFC 3339"),
            began: Instant::now(),
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        // Past the year 9999 there is no time; nobody waits so long.
        self.epoch.saturating_add(self.began.elapsed()).unwrap_or(Timestamp::MAX)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
