//! Errors of the Device Provisioning Service, the same for devices and for services.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The body of an answer with an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message} ({error_code})")]
pub struct ProvisioningError {
    /// The code: the HTTP status, followed by three digits. See [`ProvisioningErrorCode`].
    pub error_code: u32,
    /// The id of the request in the service's log.
    #[serde(default)]
    pub tracking_id: String,
    /// The message.
    #[serde(default)]
    pub message: String,
    /// The time of the error, in RFC 3339.
    #[serde(default)]
    pub timestamp_utc: String,
    /// Further details by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub info: BTreeMap<String, String>,
}

/// Codes of the service. Those that end in `000` other than [`Unauthorized`] are not
/// documented: the service's documentation has only their HTTP status.
///
/// [`Unauthorized`]: ProvisioningErrorCode::Unauthorized
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProvisioningErrorCode {
    /// A body or a member that is not valid.
    BadRequest,
    /// A wrong token.
    Unauthorized,
    /// No hub to assign.
    HubNotFound,
    /// A certificate that is missing, unknown, expired or not signed by a verified authority.
    InvalidCertificate,
    /// A path that does not exist, or another instance's id scope.
    NotFound,
    /// No enrollment for the registration id.
    EnrollmentNotFound,
    /// No registration or operation with this id.
    RegistrationNotFound,
    /// A method that the path does not have.
    MethodNotAllowed,
    /// An enrollment that already exists.
    Conflict,
    /// A registration of a device that is being registered already.
    OperationInProgress,
    /// An etag that is not the current one.
    PreconditionFailed,
    /// A body above its limit.
    TooLarge,
    /// Too many requests.
    Throttled,
    /// An internal error.
    Internal,
    /// A service that is temporarily unavailable.
    Unavailable,
}

use ProvisioningErrorCode as Code;

impl ProvisioningErrorCode {
    /// Returns the number in [`ProvisioningError::error_code`].
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Code::BadRequest => 400_000,
            Code::Unauthorized => 401_000,
            Code::HubNotFound => 401_001,
            Code::InvalidCertificate => 401_002,
            Code::NotFound => 404_000,
            Code::EnrollmentNotFound => 404_201,
            Code::RegistrationNotFound => 404_202,
            Code::MethodNotAllowed => 405_000,
            Code::Conflict => 409_000,
            Code::OperationInProgress => 409_203,
            Code::PreconditionFailed => 412_000,
            Code::TooLarge => 413_000,
            Code::Throttled => 429_000,
            Code::Internal => 500_000,
            Code::Unavailable => 503_000,
        }
    }

    /// Returns the status of the answer.
    #[must_use]
    pub fn http_status(self) -> u16 {
        u16::try_from(self.number() / 1000).expect("codes have six digits")
    }

    /// Returns the message of the service.
    #[must_use]
    pub fn message(self) -> &'static str {
        match self {
            Code::BadRequest => "Bad request",
            Code::Unauthorized => "Unauthorized",
            Code::HubNotFound => "IoTHub not found",
            Code::InvalidCertificate => "Invalid certificate",
            Code::NotFound => "Not found",
            Code::EnrollmentNotFound => "Enrollment not found",
            Code::RegistrationNotFound => "Registration not found",
            Code::MethodNotAllowed => "Method not allowed",
            Code::Conflict => "Conflict",
            Code::OperationInProgress | Code::PreconditionFailed => "Precondition failed.",
            Code::TooLarge => "Request entity too large",
            Code::Throttled => "Too many requests",
            Code::Internal => "Internal server error",
            Code::Unavailable => "Service unavailable",
        }
    }
}

impl fmt::Display for ProvisioningErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message(), self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_error_is_parsed_and_survives_a_round_trip() {
        let text = r#"{"errorCode":401002,"trackingId":"f40da7ba-8c91-4796-8fc3-89e1dfbdbe05","message":"Invalid certificate","timestampUtc":"2019-03-15T19:43:02.7904455Z"}"#;
        let error: ProvisioningError = serde_json::from_str(text).unwrap();
        assert_eq!(error.error_code, Code::InvalidCertificate.number());
        assert_eq!(serde_json::to_string(&error).unwrap(), text);
        assert_eq!(error.to_string(), "Invalid certificate (401002)");
        assert_eq!(Code::Throttled.http_status(), 429);
    }
}
