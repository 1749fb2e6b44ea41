//! Detection of another client with the same device id.
//!
//! A hub keeps one connection per device, and closes it when the device connects again.
//! MQTT 3.1.1 does not transmit the reason. So two clients with the same device id replace
//! each other without end, and each sees its connections closed soon after signing in. An
//! unreliable network can look the same, so the message is worded as a guess.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The number of suspicious ends within [`WINDOW`] from which another client is suspected.
const ENOUGH: usize = 3;
const WINDOW: Duration = Duration::from_secs(600);

/// The age of a connection beyond which its end is not suspicious.
const SOON: Duration = Duration::from_secs(120);

#[derive(Default)]
pub(super) struct Rivals {
    closed: VecDeque<Instant>,
}

impl Rivals {
    /// Records that the hub closed a connection which lasted for `lasted`. Returns the number
    /// of suspicious ends in a row once there are [`ENOUGH`], counting at most twice
    /// that many. A connection that lasted longer than [`SOON`] resets the count.
    pub(super) fn closed(&mut self, now: Instant, lasted: Duration) -> Option<usize> {
        if lasted > SOON {
            self.closed.clear();
            return None;
        }
        self.closed.retain(|at| now.duration_since(*at) < WINDOW);
        if self.closed.len() == 2 * ENOUGH {
            self.closed.pop_front();
        }
        self.closed.push_back(now);
        (self.closed.len() >= ENOUGH).then_some(self.closed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_soon_after_one_another_are_suspicious_and_a_long_one_ends_that() {
        let (mut rivals, now) = (Rivals::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(rivals.closed(now, second), None);
        assert_eq!(rivals.closed(now + second, second), None);
        assert_eq!(rivals.closed(now + 2 * second, second), Some(3));
        assert_eq!(rivals.closed(now + 3 * second, 2 * SOON), None);
        assert_eq!(rivals.closed(now + 4 * second, second), None);
    }

    #[test]
    fn a_few_within_a_day_are_not() {
        let (mut rivals, now) = (Rivals::default(), Instant::now());
        for hour in 0..24 {
            assert_eq!(rivals.closed(now + hour * 6 * WINDOW, SOON), None);
        }
    }
}
