//! Extraction of ids, conditions and bodies from requests.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use protocol::error::{ErrorCode, HubError};
use protocol::id::IdError;
use serde_json::{Map, Value};

use super::answer::ApiError;
use crate::body::{self, BodyError};
use crate::state::{IfMatch, Owner};

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

/// Reads a body.
async fn bytes(request: Request) -> Result<Bytes, ApiError> {
    body::read(request.into_body()).await.map_err(|error| match error {
        BodyError::TimedOut => {
            ApiError::with_status(StatusCode::REQUEST_TIMEOUT, &error.to_string())
        }
        BodyError::TooLarge => HubError::new(ErrorCode::MessageTooLarge, error.to_string()).into(),
    })
}

/// Reads a body as UTF-8. Ignores the `Content-Type`, as clients set different ones.
pub(super) async fn text(request: Request) -> Result<String, ApiError> {
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

/// Extractor of a body with any bytes.
pub(super) struct Binary(pub(super) Bytes);

impl<S: Sync> FromRequest<S> for Binary {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Binary, ApiError> {
        bytes(request).await.map(Binary)
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
