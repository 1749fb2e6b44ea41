//! The record of the last reboots, which limits the next one.
//!
//! The record survives boots, so it cannot rely on one clock. The time since a reboot is at
//! least the sum of the uptimes since then. A wall clock that was correct at both moments can
//! add the time for which the machine was off.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The period in which reboots are counted.
const HOUR: Duration = Duration::from_secs(3600);

/// The start of 2020, in milliseconds since the Unix epoch. An earlier time means that the wall
/// clock has not been set since the machine lost power.
const CLOCK_IS_SET: i64 = 1_577_836_800_000;

/// A moment as all available clocks show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Moment {
    /// The id of the boot. `None` if boots cannot be distinguished.
    pub(super) boot: Option<String>,
    /// The time since that boot, in milliseconds.
    pub(super) uptime_ms: u64,
    /// The time of the wall clock, in milliseconds since the Unix epoch.
    pub(super) at_ms: i64,
}

/// The reboots of the last hour, the oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RebootHistory(Vec<Moment>);

impl RebootHistory {
    /// Adds a reboot, and removes those of more than an hour ago.
    pub(super) fn add(&mut self, now: Moment) {
        let recent = self.within_hour(&now);
        self.0.drain(..self.0.len() - recent);
        self.0.push(now);
    }

    /// Removes the reboot that was added last, because it did not happen.
    pub(super) fn undo_last(&mut self) {
        self.0.pop();
    }

    /// Returns the number of reboots within the last hour.
    pub(super) fn within_hour(&self, now: &Moment) -> usize {
        let mut uptimes = Duration::ZERO;
        let mut next = now;
        let recent = self.0.iter().rev().take_while(|reboot| {
            let since_boot = match reboot.boot.is_some() && reboot.boot == next.boot {
                true => next.uptime_ms.saturating_sub(reboot.uptime_ms),
                false => next.uptime_ms,
            };
            uptimes = uptimes.saturating_add(Duration::from_millis(since_boot));
            next = reboot;
            uptimes.max(reboot.wall_time_until(now)) < HOUR
        });
        recent.count()
    }
}

impl Moment {
    /// Returns the time until a later moment by the wall clock, or zero if the clock was not set
    /// at both moments.
    fn wall_time_until(&self, later: &Moment) -> Duration {
        if self.at_ms < CLOCK_IS_SET || later.at_ms < CLOCK_IS_SET {
            return Duration::ZERO;
        }
        let passed = later.at_ms.saturating_sub(self.at_ms);
        Duration::from_millis(u64::try_from(passed).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn moment(boot: &str, uptime_minutes: u64, at: &str) -> Moment {
        let at: jiff::Timestamp = at.parse().unwrap();
        Moment {
            boot: Some(boot.to_owned()),
            uptime_ms: uptime_minutes * MINUTE,
            at_ms: at.as_millisecond(),
        }
    }

    #[test]
    fn reboots_count_for_an_hour_across_boots() {
        let mut history = RebootHistory::default();
        history.add(moment("b1", 90, "2026-01-01T12:00:00Z"));
        history.add(moment("b2", 10, "2026-01-01T12:12:00Z"));
        assert_eq!(history.within_hour(&moment("b3", 5, "2026-01-01T12:59:00Z")), 2);
        assert_eq!(history.within_hour(&moment("b3", 5, "2026-01-01T13:00:00Z")), 1);
        history.add(moment("b3", 5, "2026-01-01T13:00:00Z"));
        assert_eq!(history.0.len(), 2, "an older reboot is removed");
        history.undo_last();
        assert_eq!(history.within_hour(&moment("b3", 5, "2026-01-01T13:11:00Z")), 1);
    }

    #[test]
    fn on_a_machine_that_boots_in_1970_the_uptime_counts() {
        let mut history = RebootHistory::default();
        for boot in ["b1", "b2", "b3"] {
            history.add(moment(boot, 20, "1970-01-01T00:20:00Z"));
        }
        assert_eq!(history.within_hour(&moment("b4", 1, "1970-01-01T00:01:00Z")), 3);
        // The clock was set meanwhile. The 56 years must not count as time since the reboots.
        assert_eq!(history.within_hour(&moment("b4", 19, "2026-01-01T00:00:00Z")), 3);
        assert_eq!(history.within_hour(&moment("b4", 20, "2026-01-01T00:00:00Z")), 2);
        assert_eq!(history.within_hour(&moment("b4", 60, "2026-01-01T00:00:00Z")), 0);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_a_reboot_for_ever() {
        let mut history = RebootHistory::default();
        history.add(moment("b1", 20, "2099-01-01T00:00:00Z"));
        assert_eq!(history.within_hour(&moment("b2", 59, "2026-01-01T00:00:00Z")), 1);
        assert_eq!(history.within_hour(&moment("b2", 60, "2026-01-01T00:00:00Z")), 0);
        let same_boot = |uptime| moment("b1", uptime, "2026-01-01T00:00:00Z");
        assert_eq!(history.within_hour(&same_boot(79)), 1);
        assert_eq!(history.within_hour(&same_boot(80)), 0);
    }
}
