//! The decision when a device that had a hub registers again.
//!
//! A refusal of its identity suggests that it was assigned to another hub. After many other
//! failures, its hub may no longer exist. Both can also have causes that a registration does
//! not end, so registrations become rare while they do not help.

use std::time::Duration;

use tokio::time::Instant;

use super::with_jitter;
use crate::backoff::Backoff;
use crate::connection::failure::FailureKind;

/// The number of failures in a row, of any kind, after which a device registers again. It is
/// that of Microsoft's unified C SDK.
const MAX_FAILURES: u32 = 50;

/// The first and the longest wait between two registrations.
const BASE: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);

/// The failures since the last connection, and the time of the next registration.
pub(super) struct Pace {
    failures: u32,
    backoff: Backoff,
    not_before: Option<Instant>,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { failures: 0, backoff: Backoff::new(BASE, LONGEST), not_before: None }
    }
}

impl Pace {
    /// Counts a failure of the hub, and returns `true` if the device has to register now.
    pub(super) fn is_due(&mut self, kind: FailureKind, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let has_reason = kind == FailureKind::Identity || self.failures >= MAX_FAILURES;
        if !has_reason || self.not_before.is_some_and(|at| now < at) {
            return false;
        }
        self.failures = 0;
        self.postpone(None, now);
        true
    }

    /// Postpones the next registration by a random wait, and at least by the one that the
    /// service asks for. Returns the wait.
    pub(super) fn postpone(&mut self, asked: Option<Duration>, now: Instant) -> Duration {
        let wait = self.backoff.next().max(asked.map_or(Duration::ZERO, with_jitter));
        self.not_before = Some(now + wait);
        wait
    }

    /// Forgets the failures, since the hub has accepted the device.
    pub(super) fn connected(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refusal_leads_to_a_registration_and_trouble_of_the_network_to_none() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 1..MAX_FAILURES {
            assert!(!pace.is_due(FailureKind::Lost, now));
        }
        pace.connected();
        assert!(!pace.is_due(FailureKind::Busy, now));
        assert!(pace.is_due(FailureKind::Identity, now));
        assert!(!pace.is_due(FailureKind::Identity, now), "once until the wait is over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_no_longer_exists_is_left_after_fifty_failures() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let due: Vec<u32> = (1..=60).filter(|_| pace.is_due(FailureKind::Lost, now)).collect();
        assert_eq!(due, [MAX_FAILURES]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_that_refuses_each_time_leads_to_few_registrations() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let day = 24 * 3600;
        let registrations = (0..day)
            .filter(|second| {
                pace.is_due(FailureKind::Identity, start + Duration::from_secs(*second))
            })
            .count();
        // A random wait of up to an hour is half an hour on average.
        assert!((10..300).contains(&registrations), "{registrations}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_service_can_postpone_the_next_registration() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let wait = pace.postpone(Some(Duration::from_secs(7200)), now);
        assert!((7200..7921).contains(&wait.as_secs()), "{wait:?}");
        assert!(!pace.is_due(FailureKind::Identity, now + Duration::from_secs(7199)));
        assert!(pace.is_due(FailureKind::Identity, now + wait));
    }
}
