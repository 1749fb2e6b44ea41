//! Detection of another client with the same device id.
//!
//! A hub keeps one connection per device, and closes it when the device connects again.
//! MQTT 3.1.1 does not transmit the reason. Two clients with the same device id therefore
//! keep disconnecting each other, and each sees its connections closed soon after signing in.
//! An unreliable network can look the same, so the message is worded as a guess.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The number of short connections within [`WINDOW`] that indicates another client.
const SUSPICIOUS: usize = 3;

/// The period in which short connections are counted.
const WINDOW: Duration = Duration::from_secs(600);

/// The maximum duration of a short connection.
const SHORT: Duration = Duration::from_secs(120);

/// The times at which the hub closed short connections.
#[derive(Default)]
pub(super) struct Rivals {
    closed: VecDeque<Instant>,
}

impl Rivals {
    /// Records that the hub closed a connection after the duration `lasted`. Returns the
    /// number of short connections in a row if it is at least [`SUSPICIOUS`]. The number
    /// is at most twice [`SUSPICIOUS`]. A connection longer than [`SHORT`] resets it.
    pub(super) fn closed(&mut self, now: Instant, lasted: Duration) -> Option<usize> {
        if lasted > SHORT {
            self.closed.clear();
            return None;
        }
        self.closed.retain(|at| now.duration_since(*at) < WINDOW);
        if self.closed.len() == 2 * SUSPICIOUS {
            self.closed.pop_front();
        }
        self.closed.push_back(now);
        (self.closed.len() >= SUSPICIOUS).then_some(self.closed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_short_connections_are_suspicious_until_a_long_one() {
        let (mut rivals, now) = (Rivals::default(), Instant::now());
        let second = Duration::from_secs(1);
        assert_eq!(rivals.closed(now, second), None);
        assert_eq!(rivals.closed(now + second, second), None);
        assert_eq!(rivals.closed(now + 2 * second, second), Some(3));
        assert_eq!(rivals.closed(now + 3 * second, 2 * SHORT), None);
        assert_eq!(rivals.closed(now + 4 * second, second), None);
    }

    #[test]
    fn short_connections_spread_over_a_day_are_not_suspicious() {
        let (mut rivals, now) = (Rivals::default(), Instant::now());
        for hour in 0..24 {
            assert_eq!(rivals.closed(now + hour * 6 * WINDOW, SHORT), None);
        }
    }
}
