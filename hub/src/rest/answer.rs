//! Responses of the REST API: JSON, and errors in the format of IoT Hub.
//!
//! The official clients read different parts of an error: the status, the header, or the
//! number or name in the body. Therefore every error contains all of them.

use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::error::{BodyShape, ErrorCode, HubError, text_body};
use protocol::rest::HEADER_ERROR_CODE;
use serde::Serialize;

use crate::refusal::Refusal;
use crate::stamps::{now, tracking_id};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Result of a request: a response or an error.
pub(super) type ApiResult = Result<Response, ApiError>;

/// Returns a JSON response with the status 200.
pub(super) fn json(value: &impl Serialize) -> ApiResult {
    let body = serde_json::to_vec(value).map_err(|error| {
        HubError::new(ErrorCode::ServerError, format!("the response is not JSON: {error}"))
    })?;
    Ok(([(CONTENT_TYPE, JSON)], body).into_response())
}

/// Returns a JSON response with an `ETag` header.
pub(super) fn json_with_etag(value: &impl Serialize, etag: &str) -> ApiResult {
    let mut response = json(value)?;
    if let Ok(quoted) = HeaderValue::try_from(format!("\"{etag}\"")) {
        response.headers_mut().insert(ETAG, quoted);
    }
    Ok(response)
}

/// Error of a request with its HTTP status.
#[derive(Debug)]
pub(super) struct ApiError {
    error: HubError,
    status: StatusCode,
    /// The name of an error without a documented code.
    name: Option<&'static str>,
}

impl ApiError {
    /// Returns an error with the given status and the code [`ErrorCode::InvalidOperation`],
    /// for cases without a code in IoT Hub, such as unsupported paths.
    pub(super) fn with_status(status: StatusCode, message: &str) -> ApiError {
        ApiError { error: HubError::new(ErrorCode::InvalidOperation, message), status, name: None }
    }

    /// Returns the error of an invalid request.
    pub(super) fn invalid(message: impl Into<String>) -> ApiError {
        HubError::new(ErrorCode::ArgumentInvalid, message.into()).into()
    }
}

impl From<HubError> for ApiError {
    fn from(error: HubError) -> ApiError {
        let status = StatusCode::from_u16(error.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        ApiError { error, status, name: None }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        match refusal {
            Refusal::Hub(error) => error.into(),
            Refusal::Named { status, name, message } => {
                let error = HubError::new(ErrorCode::InvalidOperation, message);
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
                ApiError { error, status, name: Some(name) }
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let HubError { code, message, .. } = &self.error;
        let body = match self.name {
            Some(name) => text_body(name, message, &tracking_id(), &now()),
            None => self.error.to_body(shape(*code), &tracking_id(), &now()),
        };
        let name = HeaderValue::from_static(self.name.unwrap_or(code.name()));
        let headers = [(CONTENT_TYPE, JSON), (HeaderName::from_static(HEADER_ERROR_CODE), name)];
        (self.status, headers, body).into_response()
    }
}

/// Replaces a plain-text error of the router with one that clients can parse.
pub(super) fn with_parsable_error(response: Response) -> Response {
    if !response.status().is_client_error() || response.headers().contains_key(HEADER_ERROR_CODE) {
        return response;
    }
    let message = "the path or its query cannot be parsed";
    let error = HubError::new(ErrorCode::ArgumentInvalid, message);
    ApiError { error, status: response.status(), name: None }.into_response()
}

/// Returns the format of an error: text for errors of the registry, of twins and of jobs,
/// JSON for all others. The Node client recognises a missing device only in the text format.
fn shape(code: ErrorCode) -> BodyShape {
    match code {
        ErrorCode::DeviceNotFound
        | ErrorCode::ModuleNotFound
        | ErrorCode::DeviceAlreadyExists
        | ErrorCode::ModuleAlreadyExistsOnDevice
        | ErrorCode::PreconditionFailed
        | ErrorCode::IotHubUnauthorizedAccess
        | ErrorCode::TooManyDevices
        | ErrorCode::TooManyModulesOnDevice
        | ErrorCode::GenericBadRequest
        | ErrorCode::JobNotFound
        | ErrorCode::JobAlreadyExists
        | ErrorCode::ThrottlingMaxActiveJobCountExceeded => BodyShape::Text,
        _ => BodyShape::Json,
    }
}
