//! The clocks by which work is put off.
//!
//! Within a run of the host only [`WorkClock::ticks`] decide when something is due: the
//! wall clock of a device is set by days, at each start if it has no battery. The wall
//! clock counts over a restart, which the ticks do not outlive.

use std::time::Duration;

use jiff::Timestamp;

/// The time, on the wall and since a fixed moment.
pub(crate) trait WorkClock: Send + Sync {
    /// Returns the time on the wall, which may be set at any moment.
    fn wall(&self) -> Timestamp;

    /// Returns the time since a moment before the start of the host. It is never set,
    /// and goes on while the machine is suspended.
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
        // Tokio's clock stands still in a suspended machine.
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

    /// Clocks of a test. The ticks are those of tokio, which a test may pause.
    pub(crate) struct TestClock {
        started: Instant,
        /// The time on the wall at the start, and the sleep of the machine since.
        set: Mutex<(Timestamp, Duration)>,
    }

    impl TestClock {
        pub(crate) fn at(wall: &str) -> TestClock {
            let set = Mutex::new((wall.parse().unwrap(), Duration::ZERO));
            TestClock { started: Instant::now(), set }
        }

        /// Sets the clock on the wall.
        pub(crate) fn set_wall(&self, wall: &str) {
            let now: Timestamp = wall.parse().unwrap();
            self.set.lock().0 = now.checked_sub(self.ticks()).unwrap();
        }

        /// Lets time pass on both clocks.
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
    fn the_ticks_of_this_machine_go_on() {
        let begun = MachineClock.ticks();
        assert!(begun > Duration::ZERO);
        assert!(MachineClock.ticks() >= begun);
    }
}
