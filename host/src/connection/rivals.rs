//! Detection of another client with the same device id.
//!
//! A hub keeps one connection for each device and closes the older one when another
//! arrives. MQTT 3.1.1 gives no reason for it: the device sees its connection closed
//! soon after signing in, again after each return. Two programs with one device id
//! replace each other like that without end. A network that cuts connections may look
//! the same, so the message is worded as a guess.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Ends that look like it, within [`WINDOW`], before it is said.
const ENOUGH: usize = 3;
const WINDOW: Duration = Duration::from_secs(600);

/// Age of a connection beyond which another client is an unlikely reason for its end.
const SOON: Duration = Duration::from_secs(120);

#[derive(Default)]
pub(super) struct Rivals {
    closed: VecDeque<Instant>,
}

impl Rivals {
    /// The hub has closed a connection that had been signed in for so long. Says
    /// how often that has happened, if often enough to be suspicious.
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
