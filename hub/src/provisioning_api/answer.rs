//! Responses of the Device Provisioning Service.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;

use crate::provisioning::ProvisioningFailure;
use crate::stamps::guid;

/// The header with the id of the request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

/// The header with the code of an error.
const ERROR_CODE: HeaderName = HeaderName::from_static("x-ms-error-code");

// The Node client parses only bodies of this type.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Returns a JSON response.
pub(super) fn json(status: StatusCode, body: Vec<u8>, request_id: &str) -> Response {
    with_request_id((status, [(CONTENT_TYPE, JSON)], body).into_response(), request_id)
}

/// Returns a JSON response with the status 200.
pub(super) fn ok(value: &impl Serialize) -> Response {
    let body = serde_json::to_vec(value).expect("answers are plain data");
    json(StatusCode::OK, body, &guid())
}

/// Returns an empty response with the status 204.
pub(super) fn no_content() -> Response {
    with_request_id(StatusCode::NO_CONTENT.into_response(), &guid())
}

/// Returns the response of a failed request.
pub(super) fn failed(failure: &ProvisioningFailure) -> Response {
    let error = failure.to_error();
    let status = StatusCode::from_u16(failure.code.http_status())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&error).expect("errors are plain data");
    let mut response = (status, [(CONTENT_TYPE, JSON)], body).into_response();
    response.headers_mut().insert(ERROR_CODE, error.error_code.into());
    with_request_id(response, &error.tracking_id)
}

fn with_request_id(mut response: Response, id: &str) -> Response {
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
