//! Waiting with a time limit, so that a broken promise fails its test with a message
//! and never hangs it.

use std::fmt::Display;
use std::time::Duration;

/// The time limit of everything that a test waits for. It is long because the machine
/// may be busy; nothing takes this long when it works.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two calls of `look` in [`until`].
const PAUSE: Duration = Duration::from_millis(5);

/// Waits for a future for at most [`PATIENCE`].
///
/// # Panics
///
/// Panics with `promise` if the time is over: "the device connects".
pub async fn within<T>(promise: impl Display, future: impl Future<Output = T>) -> T {
    let result = tokio::time::timeout(PATIENCE, future).await;
    result.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {promise}"))
}

/// Calls `look` repeatedly until it returns a value, for at most [`PATIENCE`].
///
/// # Panics
///
/// Panics with `promise` if the time is over.
// `AsyncFnMut` would read better, but its future is not known to be `Send`, which tests need
// to spawn it.
pub async fn until<T, F>(promise: impl Display, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let looks = async {
        loop {
            if let Some(value) = look().await {
                return value;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    within(promise, looks).await
}
