//! Parts of a request: ids in its path, conditions in its headers, its body.

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

/// Limit of a body: the payload of a method may be 128 KiB, plus escapes and the
/// other members. A bulk request of a hundred devices fits as well.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// Parses the device in a path.
pub(super) fn device(id: &str) -> Result<Owner, HubError> {
    Ok(Owner { device: id.parse().map_err(not_an_id)?, module: None })
}

/// Parses the module in a path.
pub(super) fn module(id: &str, name: &str) -> Result<Owner, HubError> {
    Ok(Owner { module: Some(name.parse().map_err(not_an_id)?), ..device(id)? })
}

fn not_an_id(error: IdError) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, error.to_string())
}

/// Parses the condition of a write.
pub(super) fn if_match(headers: &HeaderMap) -> IfMatch {
    // A header that is not text matches no etag.
    IfMatch::parse(headers.get(IF_MATCH).map(|value| value.to_str().unwrap_or_default()))
}

/// Time limit for a body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Reads a body of at most [`MAX_BODY_BYTES`], within [`BODY_PATIENCE`].
async fn bytes(request: Request) -> Result<Bytes, ApiError> {
    let body = timeout(BODY_PATIENCE, to_bytes(request.into_body(), MAX_BODY_BYTES)).await;
    let body = body.map_err(|_| {
        let seconds = BODY_PATIENCE.as_secs();
        let reason = format!("the body is not whole after {seconds} s");
        ApiError::with_status(StatusCode::REQUEST_TIMEOUT, &reason)
    })?;
    body.map_err(|_| {
        let reason = format!("the body has more than {MAX_BODY_BYTES} bytes or is incomplete");
        HubError::new(ErrorCode::MessageTooLarge, reason).into()
    })
}

/// Reads a body that is text. The Content-Type is ignored: the clients do not agree
/// on it.
async fn text(request: Request) -> Result<String, ApiError> {
    let bytes = bytes(request).await?;
    String::from_utf8(bytes.into()).map_err(|_| ApiError::invalid("the body is not UTF-8"))
}

async fn value(request: Request) -> Result<Value, ApiError> {
    json::value(&text(request).await?)
        .map_err(|error| ApiError::invalid(format!("the body {error}")))
}

/// Body that is JSON and parsed later.
pub(super) struct Text(pub(super) String);

impl<S: Sync> FromRequest<S> for Text {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Text, ApiError> {
        text(request).await.map(Text)
    }
}

/// Body that is a JSON object.
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

/// Body that is a JSON array.
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
    async fn a_body_that_does_not_come_is_given_up() {
        let never = Body::from_stream(stream::pending::<std::io::Result<Bytes>>());
        let begun = Instant::now();
        let error = bytes(Request::new(never)).await.unwrap_err();
        assert!(format!("{error:?}").contains("the body is not whole after 30 s"), "{error:?}");
        assert_eq!(begun.elapsed(), BODY_PATIENCE);
    }
}
