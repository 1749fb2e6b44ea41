//! The clocks for delayed work.
//!
//! Within a run of the host, only [`WorkClock::ticks`] determine when a job is due: the wall
//! clock of a device can be set by days, and is set after each boot if it has no battery. The
//! wall clock determines the time across a restart of the host, when the ticks are lost.

use std::time::Duration;

use jiff::Timestamp;

/// A wall clock and a monotonic clock.
pub(crate) trait WorkClock: Send + Sync {
    /// Returns the time of the wall clock, which can be set at any moment.
    fn wall(&self) -> Timestamp;

    /// Returns the time of the monotonic clock, since a moment before the start of the host. It
    /// includes the time for which the machine was suspended.
    fn ticks(&self) -> Duration;
}

/// The clocks of the operating system.
pub(crate) struct MachineClock;

impl WorkClock for MachineClock {
    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn ticks(&self) -> Duration {
        use rustix::time::{ClockId, clock_gettime};
        // Tokio's clock stops while the machine is suspended.
        #[cfg(target_os = "linux")]
        let clock = ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = ClockId::Monotonic;
        Duration::try_from(clock_gettime(clock)).unwrap_or_default()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use parking_lot::Mutex;
    use tokio::time::Instant;

    use super::*;

    /// The clocks of a test. The ticks are tokio's, which a test can pause.
    pub(crate) struct TestClock {
        started: Instant,
        /// The wall time at the start, and the time for which the machine was suspended since.
        set: Mutex<(Timestamp, Duration)>,
    }

    impl TestClock {
        pub(crate) fn at(wall: &str) -> TestClock {
            let set = Mutex::new((wall.parse().unwrap(), Duration::ZERO));
            TestClock { started: Instant::now(), set }
        }

        /// Sets the wall clock.
        pub(crate) fn set_wall(&self, wall: &str) {
            let now: Timestamp = wall.parse().unwrap();
            self.set.lock().0 = now.checked_sub(self.ticks()).unwrap();
        }

        /// Advances both clocks, as if the machine had been suspended.
        pub(crate) fn suspend(&self, time: Duration) {
            self.set.lock().1 += time;
        }
    }

    impl WorkClock for TestClock {
        fn wall(&self) -> Timestamp {
            let ticks = self.ticks();
            self.set.lock().0.checked_add(ticks).unwrap()
        }

        fn ticks(&self) -> Duration {
            self.started.elapsed() + self.set.lock().1
        }
    }

    #[test]
    fn the_ticks_of_this_machine_never_go_back() {
        let begun = MachineClock.ticks();
        assert!(begun > Duration::ZERO);
        assert!(MachineClock.ticks() >= begun);
    }
}
