//! Conditions and back-off of retries.
//!
//! A request is retried if no connection could be opened or the hub returned 429. If it
//! is safe to repeat, it is also retried after 408, 500 and 503. The official clients
//! retry after the same errors. The delay is the hub's `Retry-After`, or else an
//! exponential back-off from half a second with full jitter.

use std::time::Duration;

use crate::ServiceError;

const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(20);

/// Maximum `Retry-After` that is respected.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A failed request that is about to be retried.
#[derive(Debug)]
pub struct Retry<'a> {
    /// The failure of the request.
    pub error: &'a ServiceError,
    /// The number of the retry, from 1.
    pub number: u32,
    /// The delay before the retry.
    pub wait: Duration,
}

/// Returns the delay before a retry. `number` begins at 1.
pub(super) fn wait(number: u32, retry_after: Option<Duration>) -> Duration {
    if let Some(delay) = retry_after {
        return delay.min(MAX_RETRY_AFTER);
    }
    let max = BASE.saturating_mul(2_u32.saturating_pow(number - 1)).min(CAP);
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    max.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_within_their_limits() {
        assert!(wait(1, None) <= BASE);
        assert!(wait(60, None) <= CAP);
        assert_eq!(wait(1, Some(Duration::from_secs(7))), Duration::from_secs(7));
        assert_eq!(wait(1, Some(Duration::from_secs(7000))), MAX_RETRY_AFTER);
    }
}
