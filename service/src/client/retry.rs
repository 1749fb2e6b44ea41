//! What is tried again, and when.
//!
//! No connection, 429, and for requests that may be repeated also 408, 500, 503:
//! the errors that official clients repeat too. The hub's `Retry-After` is
//! obeyed; else waits double from half a second, with full jitter.

use std::time::Duration;

use crate::ServiceError;

const BASE: Duration = Duration::from_millis(500);
const CAP: Duration = Duration::from_secs(20);

/// The longest that a hub may tell a client to wait.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A request failed and will be tried again.
#[derive(Debug)]
pub struct Retry<'a> {
    /// Why it failed.
    pub error: &'a ServiceError,
    /// The number of the next try: 1 is the first one after a failure.
    pub number: u32,
    /// How long is waited before it.
    pub wait: Duration,
}

/// The wait before a try. `number` begins at 1.
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
