//! Bodies of HTTP requests, limited in size and time.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use tokio::time::timeout;

/// Maximum size of a body. It is large enough for the maximum payload of a method (128 KiB)
/// and for a bulk request with a hundred devices.
pub(crate) const MAX_BODY_BYTES: usize = 256 * 1024;

/// Time limit for receiving a body.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reason why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is incomplete after {} s", BODY_TIMEOUT.as_secs())]
    TimedOut,
    #[error("the body has more than {MAX_BODY_BYTES} bytes or is incomplete")]
    TooLarge,
}

/// Reads a body of at most [`MAX_BODY_BYTES`] within [`BODY_TIMEOUT`].
pub(crate) async fn read(body: Body) -> Result<Bytes, BodyError> {
    let body = timeout(BODY_TIMEOUT, to_bytes(body, MAX_BODY_BYTES)).await;
    body.map_err(|_| BodyError::TimedOut)?.map_err(|_| BodyError::TooLarge)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_arrives_times_out() {
        let never = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        let start = Instant::now();
        let error = read(never).await.unwrap_err();
        assert_eq!(error.to_string(), "the body is incomplete after 30 s");
        assert_eq!(start.elapsed(), BODY_TIMEOUT);
    }
}
