//! Detection of a wall clock that was set back since the last connection.
//!
//! A token that the host signs with such a clock has already expired for the hub, and a
//! certificate of the hub may not be valid yet. The log names that cause, because neither the
//! hub nor TLS does.

use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::time::Instant;

/// The smallest step that is reported. Smaller ones are within the lifetime of a token.
const SMALLEST_STEP: Duration = Duration::from_secs(5 * 60);

/// The times of both clocks when the device signed in last.
#[derive(Debug, Default)]
pub(super) struct ClockStep {
    signed_in: Mutex<Option<(SystemTime, Instant)>>,
}

impl ClockStep {
    /// Records that the device has signed in.
    pub(super) fn signed_in(&self, wall: SystemTime, now: Instant) {
        *self.signed_in.lock() = Some((wall, now));
    }

    /// Returns the time by which the wall clock was set back since then, in whole minutes.
    /// A clock that was set forward is not detected, because the monotonic clock does not count
    /// the time for which the machine was suspended.
    pub(super) fn set_back(&self, wall: SystemTime, now: Instant) -> Option<Duration> {
        let (wall_then, then) = (*self.signed_in.lock())?;
        let expected = wall_then.checked_add(now.duration_since(then))?;
        let step = expected.duration_since(wall).ok().filter(|step| *step >= SMALLEST_STEP)?;
        Some(Duration::from_secs((step.as_secs() + 30) / 60 * 60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_was_set_back_is_detected() {
        let (clock, day) = (ClockStep::default(), Duration::from_secs(24 * 3600));
        let (wall, now, hour) = (SystemTime::now(), Instant::now(), Duration::from_secs(3600));
        assert_eq!(clock.set_back(wall - day, now), None);
        clock.signed_in(wall, now);
        assert_eq!(clock.set_back(wall + hour, now + hour), None);
        assert_eq!(clock.set_back(wall + hour - SMALLEST_STEP / 2, now + hour), None);
        assert_eq!(clock.set_back(wall + day, now + hour), None);
        assert_eq!(clock.set_back(wall + hour - day, now + hour), Some(day));
    }
}
