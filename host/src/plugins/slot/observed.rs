//! The observed durations of slow methods.
//!
//! They answer whether a caller would wait long enough, in whole seconds. Methods below
//! [`SLOW`] are therefore not recorded. A method counts as slow only if all of its last calls were,
//! within a short time, so that a slow moment of the machine excludes nobody, and an excluded
//! caller is admitted soon to observe the method again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// The duration above which a call is recorded.
const SLOW: Duration = Duration::from_secs(1);

/// The number of calls in a row that must have been slow.
const RECENT_CALLS: usize = 8;

/// The time after which a duration is forgotten.
const MAX_AGE: Duration = Duration::from_secs(60);

/// The maximum number of methods. For a plugin that serves all methods, callers choose the
/// names.
const MAX_METHODS: usize = 256;

/// The recent durations of slow methods, by name.
#[derive(Default)]
pub(super) struct ObservedTimes(HashMap<Box<str>, VecDeque<(Instant, Duration)>>);

impl ObservedTimes {
    /// Records the duration of a call that was answered.
    pub(super) fn record(&mut self, method: &str, elapsed: Duration, now: Instant) {
        if elapsed < SLOW {
            // One quick call proves that the method need not be slow.
            if !self.0.is_empty() {
                self.0.remove(method);
            }
            return;
        }
        if self.0.len() >= MAX_METHODS && !self.0.contains_key(method) {
            self.0.clear();
        }
        let recent = self.0.entry(method.into()).or_default();
        recent.truncate(RECENT_CALLS - 1);
        recent.push_front((now, elapsed));
    }

    /// Returns the shortest of the last durations of a method, or zero if it is not known to be
    /// slow.
    pub(super) fn shortest(&self, method: &str, now: Instant) -> Duration {
        let Some(last) = self.0.get(method) else { return Duration::ZERO };
        let is_recent =
            |(at, _): &&(Instant, Duration)| now.saturating_duration_since(*at) < MAX_AGE;
        match last.iter().filter(is_recent).count() {
            RECENT_CALLS => last.iter().map(|(_, elapsed)| *elapsed).min().unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_call_counts_if_all_of_the_last_calls_were_slow() {
        let (mut times, now) = (ObservedTimes::default(), Instant::now());
        let seconds = Duration::from_secs;
        for elapsed in [30, 7, 20, 20, 20, 20, 20] {
            times.record("m", seconds(elapsed), now);
            assert_eq!(times.shortest("m", now), Duration::ZERO, "too few calls");
        }
        times.record("m", seconds(20), now);
        assert_eq!(times.shortest("m", now), seconds(7));
        assert_eq!(times.shortest("other", now), Duration::ZERO);
        assert_eq!(times.shortest("m", now + MAX_AGE), Duration::ZERO);
        (0..2).for_each(|_| times.record("m", seconds(20), now));
        assert_eq!(times.shortest("m", now), seconds(20), "the shortest one is forgotten");
        times.record("m", Duration::from_millis(999), now);
        assert_eq!(times.shortest("m", now), Duration::ZERO);
    }

    #[test]
    fn the_number_of_methods_is_limited() {
        let (mut times, now) = (ObservedTimes::default(), Instant::now());
        for number in 0..=2 * MAX_METHODS {
            times.record(&number.to_string(), SLOW, now);
        }
        assert!(times.0.len() <= MAX_METHODS);
    }
}
