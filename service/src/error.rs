//! Failures of requests.

use std::time::Duration;

use protocol::error::{ErrorCode, ErrorResponse};
use trust::{Distrust, TrustError};

/// A failed request.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// An answer with an error, by the hub or a proxy before it.
    #[error("{subject}: {response}")]
    Hub {
        /// The subject of the request: a device, a query.
        subject: String,
        /// The answer.
        response: ErrorResponse,
    },
    /// A connection that could not be opened, or was closed early.
    #[error("hub `{hub}`: {problem}")]
    Unreachable {
        /// The hub's name and port.
        hub: String,
        /// The reason.
        problem: String,
        /// The fault of the hub's certificate, if that is the reason.
        distrust: Option<Distrust>,
    },
    /// A connection without an answer in time.
    #[error("hub `{hub}`: no answer within {seconds} s")]
    Silent {
        /// The hub's name and port.
        hub: String,
        /// The time waited for it, in seconds.
        seconds: u64,
    },
    /// An answer that violates the API.
    #[error("hub `{hub}`: malformed answer: {problem}")]
    BadAnswer {
        /// The hub's name and port.
        hub: String,
        /// The violation.
        problem: String,
    },
    /// Unusable certificates to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// An HTTPS client that could not be created.
    #[error("cannot create an HTTPS client: {0}")]
    NoClient(String),
    /// A rebooted device that has not reported the time of its reboot.
    #[error("device `{device}` has reported no new {property} within {timeout:?}")]
    NotReported {
        /// The device.
        device: String,
        /// The watched reported property.
        property: String,
        /// The time that it was watched.
        timeout: Duration,
    },
    /// A device that has reported that it was not rebooted.
    #[error("device `{device}` has reported that it was not rebooted")]
    NotRebooted {
        /// The device.
        device: String,
    },
    /// A method that the device answered with an error.
    #[error("device `{device}` answered {method} with status {status}: {payload}")]
    Device {
        /// The device.
        device: String,
        /// The method.
        method: String,
        /// The device's status.
        status: i32,
        /// The device's answer, as JSON text.
        payload: String,
    },
}

/// The kinds of failures that callers treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceErrorKind {
    /// A device that is not connected.
    Offline,
    /// A device or path that does not exist.
    NotFound,
    /// A device or hub that has not answered in time.
    TimedOut,
    /// A wrong key, policy or clock.
    Unauthorised,
    /// An error that the device answered, or reported later.
    Device,
    /// A hub that cannot be reached.
    Unreachable,
    /// All other failures.
    Other,
}

impl ServiceError {
    /// Returns the hub's code, if the hub returned one that is documented.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ServiceError::Hub { response, .. } => response.known_code(),
            _ => None,
        }
    }

    /// Returns the kind of the failure.
    #[must_use]
    pub fn kind(&self) -> ServiceErrorKind {
        match self {
            ServiceError::Hub { response, .. } => match response.known_code() {
                Some(
                    ErrorCode::DeviceNotOnline
                    | ErrorCode::DeviceConnectionClosedRemotely
                    | ErrorCode::DeviceUnavailable,
                ) => ServiceErrorKind::Offline,
                Some(ErrorCode::GatewayTimeout | ErrorCode::GenericTimeout) => {
                    ServiceErrorKind::TimedOut
                }
                _ => match response.http_status {
                    401 => ServiceErrorKind::Unauthorised,
                    404 => ServiceErrorKind::NotFound,
                    504 => ServiceErrorKind::TimedOut,
                    _ => ServiceErrorKind::Other,
                },
            },
            ServiceError::Unreachable { .. } => ServiceErrorKind::Unreachable,
            ServiceError::Silent { .. } | ServiceError::NotReported { .. } => {
                ServiceErrorKind::TimedOut
            }
            ServiceError::Device { .. } | ServiceError::NotRebooted { .. } => {
                ServiceErrorKind::Device
            }
            _ => ServiceErrorKind::Other,
        }
    }
}
