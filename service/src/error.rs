//! Why a request has no result.

use protocol::error::{ErrorCode, HubError};
use trust::TrustError;

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The hub has said so.
    #[error("{subject}: {error}")]
    Hub {
        /// What the request was about: a device, a query.
        subject: String,
        /// What the hub said.
        error: HubError,
    },
    /// No connection, or one that was cut.
    #[error("hub `{hub}`: {problem}")]
    Unreachable {
        /// Its name and port.
        hub: String,
        /// What happened.
        problem: String,
        /// The hub's certificate is signed by nobody that is trusted.
        untrusted: bool,
    },
    /// Connected, but no answer in the time that the request may take.
    #[error("hub `{hub}`: no answer within {seconds} s")]
    Silent {
        /// Its name and port.
        hub: String,
        /// How long was waited.
        seconds: u64,
    },
    /// An answer that is not what the API promises.
    #[error("hub `{hub}`: its answer cannot be read: {problem}")]
    BadAnswer {
        /// Its name and port.
        hub: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The certificates to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The HTTPS client cannot be made.
    #[error("no HTTPS client: {0}")]
    NoClient(String),
    /// The device was rebooted, but has not said when.
    #[error("device `{device}` has reported no new {property} within {seconds} s")]
    NotReported {
        /// The device.
        device: String,
        /// The reported property that was watched.
        property: String,
        /// How long it was watched.
        seconds: u64,
    },
    /// The device answered a method with an error of its own.
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

/// Kinds of errors that a caller treats apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceErrorKind {
    /// The device is not connected.
    Offline,
    /// There is no such device or path.
    NotFound,
    /// The device or the hub has not answered in time.
    TimedOut,
    /// The key, the policy or the clock is wrong.
    Unauthorised,
    /// The device's own error.
    Device,
    /// There is no way to the hub.
    Unreachable,
    /// Everything else.
    Other,
}

impl ServiceError {
    /// The hub's six-digit code, where the hub has said something.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        match self {
            ServiceError::Hub { error, .. } => Some(error.code.number()),
            _ => None,
        }
    }

    /// Which kind it is of.
    #[must_use]
    pub fn kind(&self) -> ServiceErrorKind {
        match self {
            ServiceError::Hub { error, .. } => match error.code {
                ErrorCode::DeviceNotOnline
                | ErrorCode::DeviceConnectionClosedRemotely
                | ErrorCode::DeviceUnavailable => ServiceErrorKind::Offline,
                ErrorCode::GatewayTimeout | ErrorCode::GenericTimeout => ServiceErrorKind::TimedOut,
                code => match code.http_status() {
                    401 => ServiceErrorKind::Unauthorised,
                    404 => ServiceErrorKind::NotFound,
                    _ => ServiceErrorKind::Other,
                },
            },
            ServiceError::Unreachable { .. } => ServiceErrorKind::Unreachable,
            ServiceError::Silent { .. } | ServiceError::NotReported { .. } => {
                ServiceErrorKind::TimedOut
            }
            ServiceError::Device { .. } => ServiceErrorKind::Device,
            _ => ServiceErrorKind::Other,
        }
    }
}
