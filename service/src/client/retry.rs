//! Retries: their conditions and their waits.
//!
//! A request is retried if there was no connection or the hub answered 429, and, if
//! it is safe to repeat, also after 408, 500 and 503: the same errors as in the
//! official clients. The hub's `Retry-After` decides the wait; without it, waits
//! double from half a second, with full jitter.

use std::time::Duration;

use crate::ServiceError;

const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(20);

/// The longest wait that a hub may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A failed request that is about to be retried.
#[derive(Debug)]
pub struct Retry<'a> {
    /// The failure.
    pub error: &'a ServiceError,
    /// The number of the retry, from 1.
    pub number: u32,
    /// The wait before it.
    pub wait: Duration,
}

/// Returns the wait before a retry. `number` begins at 1.
pub(super) fn wait(number: u32, retry_after: Option<Duration>) -> Duration {
    if let Some(asked) = retry_after {
        return asked.min(LONGEST_RETRY_AFTER);
    }
    let most = BASE.saturating_mul(2_u32.saturating_pow(number - 1)).min(CAP);
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    most.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_stay_within_their_bounds() {
        assert!(wait(1, None) <= BASE);
        assert!(wait(60, None) <= CAP);
        assert_eq!(wait(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(wait(1, Some(Duration::from_secs(7000))), LONGEST_RETRY_AFTER);
    }
}
