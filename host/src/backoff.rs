//! Exponential back-off with full jitter.
//!
//! Random waits keep the devices of a fleet from reconnecting all at once after an outage of
//! the hub.

use std::time::Duration;

/// Random waits with an upper bound that doubles from `base` to `cap`.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) fn new(base: Duration, cap: Duration) -> Backoff {
        Backoff { base, cap, failures: 0 }
    }

    /// Counts a failure and returns the wait before the next attempt.
    pub(crate) fn next(&mut self) -> Duration {
        self.next_at(random_part())
    }

    /// Resets the upper bound to `base`.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and returns a part of the upper bound. `part` is from 0 to 1.
    fn next_at(&mut self, part: f64) -> Duration {
        let bound = doubled(self.base, self.failures, self.cap);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(part)
    }
}

/// Returns a random number from 0 to 1, or one half if the system has no random bytes.
pub(crate) fn random_part() -> f64 {
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

/// Returns `base` multiplied by two to the power of `times`, at most `cap`.
pub(crate) fn doubled(base: Duration, times: u32, cap: Duration) -> Duration {
    base.saturating_mul(2_u32.saturating_pow(times)).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upper_bound_doubles_up_to_the_cap_and_stays_there() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(60));
        let waits: Vec<_> = (0..12).map(|_| backoff.next_at(1.0).as_millis()).collect();
        let expected =
            [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000];
        assert_eq!(waits, expected);
    }

    #[test]
    fn a_wait_is_between_zero_and_the_upper_bound() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!(backoff.next_at(0.0), Duration::ZERO);
        assert!(backoff.next() <= Duration::from_secs(2));
    }

    #[test]
    fn a_thousand_failures_do_not_overflow() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        for _ in 0..1000 {
            backoff.next();
        }
        assert_eq!(backoff.next_at(1.0), Duration::from_secs(60));
        backoff.reset();
        assert_eq!(backoff.next_at(1.0), Duration::from_secs(1));
    }
}
