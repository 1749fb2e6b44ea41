//! Limits on the rate of commits, because each commit wears the flash memory of a device.
//!
//! The host and each plugin have a token bucket for the commits of one hour. The writer waits
//! for the host's bucket, and changes that arrive meanwhile share the commit. A plugin's change
//! first waits for the plugin's bucket. Changes are delayed, never refused.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

use crate::config::CommitLimits;

/// Token buckets of the host and of its plugins.
pub(super) struct CommitRates {
    limits: CommitLimits,
    began: Instant,
    host: Mutex<Bucket>,
    /// Buckets of the plugins that have caused a commit, by name.
    plugins: Mutex<BTreeMap<String, Bucket>>,
}

/// Token bucket of commits.
#[derive(Debug)]
struct Bucket {
    per_minute: f64,
    /// Number of commits allowed now; negative if the rate was exceeded.
    left: f64,
    /// Time of the last refill, relative to the start of the host.
    refilled: Duration,
    /// Number of delays so far.
    delays: u64,
}

impl CommitRates {
    pub(super) fn new(limits: CommitLimits) -> CommitRates {
        CommitRates {
            limits,
            began: Instant::now(),
            host: Mutex::new(Bucket::full(limits.per_minute)),
            plugins: Mutex::default(),
        }
    }

    /// Returns the time until the host can commit.
    pub(super) fn wait_of_host(&self) -> Duration {
        self.host.lock().wait(self.began.elapsed())
    }

    /// Returns the time until a change of the plugin can be made.
    pub(super) fn wait_of(&self, plugin: &str) -> Duration {
        let mut plugins = self.plugins.lock();
        let Some(bucket) = plugins.get_mut(plugin) else { return Duration::ZERO };
        let wait = bucket.wait(self.began.elapsed());
        if !wait.is_zero() {
            let (delays, per_minute) = (bucket.delay(), self.limits.per_plugin);
            // Logged at exponentially growing intervals, because a plugin may write all day.
            if delays.is_power_of_two() {
                warn!(
                    plugin,
                    delays,
                    per_minute,
                    "changes of a plugin delayed: it causes more commits to disk than allowed"
                );
            }
        }
        wait
    }

    /// Counts a commit that was delayed.
    pub(super) fn host_delayed(&self) {
        let (delays, per_minute) = (self.host.lock().delay(), self.limits.per_minute);
        if delays.is_power_of_two() {
            warn!(delays, per_minute, "commit to disk delayed: there are more than allowed");
        }
    }

    /// Counts a commit with changes of these plugins.
    pub(super) fn committed<'a>(&self, plugins: impl Iterator<Item = &'a str>) {
        self.host.lock().left -= 1.0;
        let mut buckets = self.plugins.lock();
        for plugin in plugins.collect::<BTreeSet<_>>() {
            let full = || Bucket::full(self.limits.per_plugin);
            buckets.entry(plugin.to_owned()).or_insert_with(full).left -= 1.0;
        }
    }
}

impl Bucket {
    /// Returns a full bucket with this rate.
    fn full(per_minute: u32) -> Bucket {
        let per_minute = f64::from(per_minute);
        Bucket {
            per_minute,
            left: per_minute * CommitLimits::BURST_MINUTES,
            refilled: Duration::ZERO,
            delays: 0,
        }
    }

    /// Refills the bucket and returns the time until the next commit is allowed.
    fn wait(&mut self, now: Duration) -> Duration {
        let minutes = now.saturating_sub(self.refilled).as_secs_f64() / 60.0;
        let capacity = self.per_minute * CommitLimits::BURST_MINUTES;
        self.left = (self.left + minutes * self.per_minute).min(capacity);
        self.refilled = now;
        if self.left >= 1.0 {
            return Duration::ZERO;
        }
        // The additional millisecond prevents a second wait that rounding would cause.
        let seconds = 60.0 * (1.0 - self.left) / self.per_minute;
        Duration::from_secs_f64(seconds) + Duration::from_millis(1)
    }

    /// Counts a delay, and returns the number of delays so far.
    fn delay(&mut self) -> u64 {
        self.delays += 1;
        self.delays
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_bucket_allows_the_commits_of_an_hour_and_then_its_rate() {
        let mut bucket = Bucket::full(10);
        assert_eq!(bucket.wait(Duration::ZERO), Duration::ZERO);
        bucket.left -= 600.0;
        let wait = bucket.wait(Duration::ZERO);
        assert_eq!(wait.as_secs(), 6);
        assert_eq!(bucket.wait(wait), Duration::ZERO);
        // Even after a day the bucket holds only the commits of an hour.
        bucket.wait(24 * 60 * MINUTE);
        assert!((bucket.left - 600.0).abs() < f64::EPSILON);
    }

    #[test]
    fn commits_beyond_the_rate_are_repaid() {
        let mut bucket = Bucket::full(60);
        bucket.left = -9.0;
        assert_eq!(bucket.wait(Duration::ZERO).as_secs(), 10);
    }
}
