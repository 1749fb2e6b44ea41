//! Errors of the client.

use std::time::Duration;

use protocol::error::{ErrorCode, ErrorResponse};
use protocol::provisioning::ProvisioningError;
use trust::{Distrust, TrustError};

use crate::entra_sign_in::EntraSignIn;

/// An error of the client.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// An error response of the hub or of a proxy.
    #[error("{subject}: {response}")]
    Hub {
        /// The subject of the request, such as the device.
        subject: String,
        /// The response.
        response: ErrorResponse,
    },
    /// An error response of the Device Provisioning Service.
    #[error("{subject}: {error}")]
    Provisioning {
        /// The subject of the request, such as the enrollment.
        subject: String,
        /// The HTTP status of the response.
        http_status: u16,
        /// The response.
        error: Box<ProvisioningError>,
    },
    /// An error response to an access token of Microsoft Entra ID.
    #[error(transparent)]
    AccessDenied(Box<ServiceError>),
    /// A sign-in by Microsoft Entra ID that failed.
    #[error("sign-in by Microsoft Entra ID: {problem}")]
    SignIn {
        /// The way in which the client signs in.
        sign_in: EntraSignIn,
        /// The reason, in one line.
        problem: String,
        /// `false` if Microsoft Entra ID did not answer, or not in time.
        is_reachable: bool,
    },
    /// A connection that could not be opened or was closed early.
    #[error("hub `{hub}`: {problem}")]
    Unreachable {
        /// The hub's name and port.
        hub: String,
        /// The reason.
        problem: String,
        /// The problem with the hub's certificate, if that is the reason.
        distrust: Option<Distrust>,
    },
    /// A request that timed out.
    #[error("hub `{hub}`: no response within {seconds} s")]
    Silent {
        /// The hub's name and port.
        hub: String,
        /// The timeout, in seconds.
        seconds: u64,
    },
    /// A response that violates the API.
    #[error("hub `{hub}`: malformed response: {problem}")]
    MalformedResponse {
        /// The hub's name and port.
        hub: String,
        /// The violation.
        problem: String,
    },
    /// Trusted certificates that cannot be loaded.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// An HTTPS client that could not be created.
    #[error("cannot create an HTTPS client: {0}")]
    NoClient(String),
    /// A device that did not report the time of its reboot.
    #[error("device `{device}` has reported no new {property} within {timeout:?}")]
    NotReported {
        /// The device.
        device: String,
        /// The reported property.
        property: String,
        /// The time that the client waited.
        timeout: Duration,
    },
    /// A device that reported a failed reboot.
    #[error("device `{device}` has reported that it was not rebooted")]
    NotRebooted {
        /// The device.
        device: String,
    },
    /// A method call that the device answered with an error status.
    #[error("device `{device}` answered {method} with status {status}: {payload}")]
    Device {
        /// The device.
        device: String,
        /// The name of the method.
        method: String,
        /// The status of the answer.
        status: i32,
        /// The payload of the answer, as JSON.
        payload: String,
    },
}

/// The kind of an error, for callers that handle kinds differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceErrorKind {
    /// A device that is not connected.
    Offline,
    /// A device, enrollment or path that does not exist.
    NotFound,
    /// A device or hub that did not answer in time.
    TimedOut,
    /// A wrong key, policy or clock.
    Unauthorised,
    /// An error that the device returned or reported.
    Device,
    /// A hub that cannot be reached.
    Unreachable,
    /// Any other error.
    Other,
}

impl ServiceError {
    /// Returns the error code of the hub's response; `None` if it is missing or undocumented.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ServiceError::Hub { response, .. } => response.known_code(),
            ServiceError::AccessDenied(error) => error.code(),
            _ => None,
        }
    }

    /// Returns the kind of the error.
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
            ServiceError::Provisioning { http_status, .. } => match http_status {
                401 => ServiceErrorKind::Unauthorised,
                404 => ServiceErrorKind::NotFound,
                504 => ServiceErrorKind::TimedOut,
                _ => ServiceErrorKind::Other,
            },
            ServiceError::AccessDenied(_) | ServiceError::SignIn { is_reachable: true, .. } => {
                ServiceErrorKind::Unauthorised
            }
            ServiceError::Unreachable { .. } | ServiceError::SignIn { is_reachable: false, .. } => {
                ServiceErrorKind::Unreachable
            }
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
