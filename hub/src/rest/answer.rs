//! Answers of the REST API: JSON, and errors in the form that clients read.
//!
//! Each official client reads another part of an error: the status and its
//! reason, the header, the number or the name in the body. All are always there.

use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::error::{BodyShape, ErrorCode, HubError};
use protocol::rest::HEADER_ERROR_CODE;
use serde::Serialize;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// An answer, or the error that is given instead.
pub(super) type Answer = Result<Response, Failure>;

/// A JSON answer with status 200.
pub(super) fn json(value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).map_err(|error| {
        HubError::new(ErrorCode::ServerError, format!("the answer is not JSON: {error}"))
    })?;
    Ok(([(CONTENT_TYPE, JSON)], body).into_response())
}

/// A JSON answer with an `ETag` header.
pub(super) fn json_with_etag(value: &impl Serialize, etag: &str) -> Answer {
    let mut response = json(value)?;
    if let Ok(quoted) = HeaderValue::try_from(format!("\"{etag}\"")) {
        response.headers_mut().insert(ETAG, quoted);
    }
    Ok(response)
}

/// An error on its way out.
#[derive(Debug)]
pub(super) struct Failure {
    error: HubError,
    status: StatusCode,
}

impl Failure {
    /// With another status than the code's own: a path that does not exist has
    /// no code.
    pub(super) fn with_status(status: StatusCode, message: &str) -> Failure {
        Failure { error: HubError::new(ErrorCode::InvalidOperation, message), status }
    }

    /// The request does not make sense.
    pub(super) fn invalid(message: impl Into<String>) -> Failure {
        HubError::new(ErrorCode::ArgumentInvalid, message.into()).into()
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Failure {
        let status = StatusCode::from_u16(error.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Failure { error, status }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let HubError { code, .. } = self.error;
        let now = jiff::Timestamp::now();
        let body = self.error.to_body(shape(code), &tracking_id(), &format!("{now:.7}"));
        let name = HeaderName::from_static(HEADER_ERROR_CODE);
        let headers = [(CONTENT_TYPE, JSON), (name, HeaderValue::from_static(code.name()))];
        (self.status, headers, body).into_response()
    }
}

/// Replaces a refusal of the router's own, which no client could read.
pub(super) fn in_kind(response: Response) -> Response {
    if !response.status().is_client_error() || response.headers().contains_key(HEADER_ERROR_CODE) {
        return response;
    }
    let message = "the path or its query cannot be read";
    let error = HubError::new(ErrorCode::ArgumentInvalid, message);
    Failure { error, status: response.status() }.into_response()
}

/// Errors of the registry and of twins are texts, all others JSON: Node knows a
/// missing device by the text only.
fn shape(code: ErrorCode) -> BodyShape {
    match code {
        ErrorCode::DeviceNotFound
        | ErrorCode::ModuleNotFound
        | ErrorCode::DeviceAlreadyExists
        | ErrorCode::ModuleAlreadyExistsOnDevice
        | ErrorCode::PreconditionFailed
        | ErrorCode::IotHubUnauthorizedAccess
        | ErrorCode::TooManyDevices
        | ErrorCode::TooManyModulesOnDevice => BodyShape::Text,
        _ => BodyShape::Json,
    }
}

/// By what a caller and the log can talk of the same answer.
fn tracking_id() -> String {
    let mut bytes = [0; 16];
    // An id is a convenience: without randomness the answer still goes out.
    let _ = getrandom::fill(&mut bytes);
    format!("{:032x}-G:0", u128::from_be_bytes(bytes))
}
