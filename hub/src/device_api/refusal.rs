//! Refused requests of devices, in the format of the REST API.

use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use protocol::error::{BodyShape, ErrorCode, HubError};
use protocol::id::IdError;
use protocol::rest::HEADER_ERROR_CODE;

use crate::body::BodyError;
use crate::stamps::{now, tracking_id};

/// A refused request.
#[derive(Debug)]
pub(super) struct DeviceRefused(HubError);

impl DeviceRefused {
    pub(super) fn of_body(error: BodyError) -> DeviceRefused {
        let code = match error {
            BodyError::TimedOut => ErrorCode::GenericTimeout,
            BodyError::TooLarge => ErrorCode::MessageTooLarge,
        };
        HubError::new(code, error.to_string()).into()
    }
}

/// Returns the error of an invalid id in a path.
pub(super) fn invalid_id(error: IdError) -> DeviceRefused {
    HubError::new(ErrorCode::ArgumentInvalid, error.to_string()).into()
}

impl From<HubError> for DeviceRefused {
    fn from(error: HubError) -> DeviceRefused {
        DeviceRefused(error)
    }
}

impl IntoResponse for DeviceRefused {
    fn into_response(self) -> Response {
        let DeviceRefused(error) = self;
        let status = StatusCode::from_u16(error.code.http_status());
        let headers = [
            (CONTENT_TYPE.as_str(), HeaderValue::from_static("application/json; charset=utf-8")),
            (HEADER_ERROR_CODE, HeaderValue::from_static(error.code.name())),
        ];
        let body = error.to_body(BodyShape::Json, &tracking_id(), &now());
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), headers, body).into_response()
    }
}
