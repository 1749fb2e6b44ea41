//! Waits before a request is repeated.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};

const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(20);

/// Returns the wait before a retry: an exponential back-off with full jitter, so that the
/// devices of a fleet do not come back all at once. `number` begins at 1.
pub(super) fn wait(number: u32) -> Duration {
    let bound = BASE.saturating_mul(2_u32.saturating_pow(number.saturating_sub(1))).min(CAP);
    let mut random = [0_u8; 4];
    let part = match SystemRandom::new().fill(&mut random) {
        Ok(()) => f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    };
    bound.mul_f64(part)
}

/// Parses `Retry-After`: a number of seconds, or a date (RFC 9110, section 10.2.3).
pub(super) fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
    let now = now.duration_since(UNIX_EPOCH).ok()?;
    let date = Duration::from_secs(u64::try_from(date.as_second()).ok()?);
    Some(date.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_within_their_limits() {
        assert!(wait(1) <= BASE);
        assert!(wait(u32::MAX) <= CAP);
    }

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let parse = |header| retry_after(header, now);
        assert_eq!(parse("120"), Some(Duration::from_secs(120)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:00 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("99999999999999999999"), Some(Duration::from_secs(u64::MAX)));
        for malformed in ["", "soon", "-1", "1.5", "+1"] {
            assert_eq!(parse(malformed), None, "{malformed}");
        }
    }
}
