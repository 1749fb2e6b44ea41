//! Extraction of ids, conditions and bodies from requests.

use std::time::Duration;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use protocol::error::{ErrorCode, HubError};
use protocol::id::IdError;
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::answer::ApiError;
use crate::state::{IfMatch, Owner};

/// Maximum size of a body. It is large enough for the maximum payload of a method (128 KiB)
/// and for a bulk request with a hundred devices.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Parses the device id in a path.
pub(super) fn device(id: &str) -> Result<Owner, HubError> {
    Ok(Owner { device: id.parse().map_err(not_an_id)?, module: None })
}

/// Parses the device id and the module id in a path.
pub(super) fn module(id: &str, name: &str) -> Result<Owner, HubError> {
    Ok(Owner { module: Some(name.parse().map_err(not_an_id)?), ..device(id)? })
}

fn not_an_id(error: IdError) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, error.to_string())
}

/// Parses the `If-Match` condition of a write.
pub(super) fn if_match(headers: &HeaderMap) -> IfMatch {
    // A header that is not ASCII becomes empty, which matches no etag.
    IfMatch::parse(headers.get(IF_MATCH).map(|value| value.to_str().unwrap_or_default()))
}

/// Time limit for receiving a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a body of at most [`MAX_BODY_BYTES`] within [`BODY_TIMEOUT`].
async fn bytes(request: Request) -> Result<Bytes, ApiError> {
    let body = timeout(BODY_TIMEOUT, to_bytes(request.into_body(), MAX_BODY_BYTES)).await;
    let body = body.map_err(|_| {
        let seconds = BODY_TIMEOUT.as_secs();
        let reason = format!("the body is incomplete after {seconds} s");
        ApiError::with_status(StatusCode::REQUEST_TIMEOUT, &reason)
    })?;
    body.map_err(|_| {
        let reason = format!("the body has more than {MAX_BODY_BYTES} bytes or is incomplete");
        HubError::new(ErrorCode::MessageTooLarge, reason).into()
    })
}

/// Reads a body as UTF-8. Ignores the `Content-Type`, as clients set different ones.
async fn text(request: Request) -> Result<String, ApiError> {
    let bytes = bytes(request).await?;
    String::from_utf8(bytes.into()).map_err(|_| ApiError::invalid("the body is not UTF-8"))
}

async fn value(request: Request) -> Result<Value, ApiError> {
    json::value(&text(request).await?)
        .map_err(|error| ApiError::invalid(format!("the body {error}")))
}

/// Extractor of a body as a string, to be parsed later.
pub(super) struct Text(pub(super) String);

impl<S: Sync> FromRequest<S> for Text {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Text, ApiError> {
        text(request).await.map(Text)
    }
}

/// Extractor of a JSON object.
pub(super) struct JsonObject(pub(super) Map<String, Value>);

impl<S: Sync> FromRequest<S> for JsonObject {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<JsonObject, ApiError> {
        match value(request).await? {
            Value::Object(object) => Ok(JsonObject(object)),
            _ => Err(ApiError::invalid("the body is not a JSON object")),
        }
    }
}

/// Extractor of a JSON array.
pub(super) struct JsonArray(pub(super) Vec<Value>);

impl<S: Sync> FromRequest<S> for JsonArray {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<JsonArray, ApiError> {
        match value(request).await? {
            Value::Array(array) => Ok(JsonArray(array)),
            _ => Err(ApiError::invalid("the body is not a JSON array")),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use futures_util::stream;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_arrives_times_out() {
        let never = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        let start = Instant::now();
        let error = bytes(Request::new(never)).await.unwrap_err();
        assert!(format!("{error:?}").contains("the body is incomplete after 30 s"), "{error:?}");
        assert_eq!(start.elapsed(), BODY_TIMEOUT);
    }
}
