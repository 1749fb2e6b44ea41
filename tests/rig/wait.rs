//! Waiting with a time limit, so that a broken promise fails a test with a message instead
//! of hanging it.

use std::fmt::Display;
use std::time::Duration;

/// The time limit of each wait. It is much longer than any successful wait, since the
/// machine may be busy.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// The pause between two calls of `poll` in [`until`].
const PAUSE: Duration = Duration::from_millis(5);

/// Waits for a future for at most [`TIMEOUT`].
///
/// # Panics
///
/// Panics with `promise`, such as "the device connects", if the time is over.
pub async fn within<T>(promise: impl Display, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(TIMEOUT, future).await;
    result.unwrap_or_else(|_| panic!("not within {TIMEOUT:?}: {promise}"))
}

/// Calls `poll` repeatedly until it returns a value, for at most [`TIMEOUT`].
///
/// # Panics
///
/// Panics with `promise` if the time is over.
// `AsyncFnMut` is not used because its future is not known to be `Send`. Tests spawn it, so
// it must be `Send`.
pub async fn until<T, F>(promise: impl Display, mut poll: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let polls = async {
        loop {
            if let Some(value) = poll().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    within(promise, polls).await
}
