//! The times at which a certificate is renewed.

use std::time::Duration;

use jiff::Timestamp;

use crate::backoff::random_part;
use crate::connection::DeviceCertificate;

/// Part of the lifetime after which a certificate is renewed, reduced by a random part of
/// [`SPREAD`], so that devices which got their certificates together do not renew together.
const RENEW_AT: f64 = 0.8;
const SPREAD: f64 = 0.1;

/// Part of the lifetime between two attempts.
const RETRY: f64 = 0.04;

/// Shortest and longest wait between two attempts.
const MIN_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(12 * 3600);

/// Part of the lifetime for which an answer of the hub is awaited, and its limits. The longest
/// wait is that of the official C SDK.
const ANSWER: f64 = 0.1;
const MIN_ANSWER_WAIT: Duration = Duration::from_secs(1);
const MAX_ANSWER_WAIT: Duration = Duration::from_secs(120);

/// Times at which a certificate is renewed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Schedule {
    from: Timestamp,
    lifetime: Duration,
    /// Part of the lifetime after which the certificate is due.
    part: f64,
}

impl Schedule {
    /// Returns the times of a certificate.
    pub(super) fn of(certificate: &DeviceCertificate) -> Schedule {
        let (from, until) = (certificate.valid_from(), certificate.valid_until());
        Schedule::new(from, until, random_part())
    }

    /// Creates a schedule with a random number from 0 to 1.
    fn new(from: Timestamp, until: Timestamp, random: f64) -> Schedule {
        // A certificate that ends before it starts is due at once.
        let lifetime = Duration::try_from(until.duration_since(from)).unwrap_or_default();
        Schedule { from, lifetime, part: RENEW_AT - SPREAD * random }
    }

    /// Returns the time until the certificate is due; `None` if it is due. A clock before the
    /// start of the certificate has not been set yet, so nothing is due by it.
    pub(super) fn left(&self, now: Timestamp) -> Option<Duration> {
        let age = now.duration_since(self.from);
        let due = self.lifetime.mul_f64(self.part);
        match Duration::try_from(age) {
            Ok(age) => due.checked_sub(age).filter(|left| !left.is_zero()),
            Err(_) if self.lifetime.is_zero() => None,
            Err(_) => Some(due.saturating_add(age.unsigned_abs())),
        }
    }

    /// Returns the wait after a failed attempt, which is at least the one that was asked for.
    pub(super) fn retry(&self, asked: Option<Duration>) -> Duration {
        let wait = self.lifetime.mul_f64(RETRY).clamp(MIN_RETRY, MAX_RETRY);
        wait.max(asked.unwrap_or_default()).mul_f64(1.0 + SPREAD * random_part())
    }

    /// Returns the time limit for an answer of the hub.
    pub(super) fn answer_wait(&self) -> Duration {
        self.lifetime.mul_f64(ANSWER).clamp(MIN_ANSWER_WAIT, MAX_ANSWER_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_certificate_is_renewed_after_seven_to_eight_tenths_of_its_life() {
        let (from, until) = (at("2026-03-01T00:00:00Z"), at("2026-03-31T00:00:00Z"));
        let left = |random, now: &str| Schedule::new(from, until, random).left(at(now));
        assert_eq!(left(0.0, "2026-03-01T00:00:00Z"), Some(24 * DAY));
        assert_eq!(left(1.0, "2026-03-21T00:00:00Z"), Some(DAY));
        assert_eq!(left(1.0, "2026-03-22T00:00:00Z"), None);
        assert_eq!(left(0.0, "2026-04-22T00:00:00Z"), None, "a device that slept through the end");
    }

    #[test]
    fn a_clock_that_is_not_set_yet_makes_no_certificate_due() {
        let (from, until) = (at("2026-03-01T00:00:00Z"), at("2026-03-31T00:00:00Z"));
        let schedule = Schedule::new(from, until, 0.0);
        assert!(schedule.left(at("1970-01-01T00:00:00Z")).is_some());
        assert_eq!(Schedule::new(until, from, 0.0).left(at("2026-03-01T00:00:00Z")), None);
    }

    #[test]
    fn attempts_are_repeated_after_a_part_of_the_life() {
        let of = |seconds| {
            let from = at("2026-03-01T00:00:00Z");
            Schedule::new(from, from + Duration::from_secs(seconds), 0.0)
        };
        let near =
            |wait: Duration, seconds: f64| (seconds..=seconds * 1.1).contains(&wait.as_secs_f64());
        assert!(near(of(60).retry(None), 2.4));
        assert!(near(of(90 * 86_400).retry(None), 12.0 * 3600.0));
        assert!(near(of(60).retry(Some(DAY)), 86_400.0));
        assert_eq!(of(60).answer_wait(), Duration::from_secs(6));
        assert_eq!(of(86_400).answer_wait(), MAX_ANSWER_WAIT);
    }
}
