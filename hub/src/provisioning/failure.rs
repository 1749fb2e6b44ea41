//! Failures of requests to the Device Provisioning Service.

use protocol::error::{ErrorCode, HubError};
use protocol::provisioning::{ProvisioningError, ProvisioningErrorCode};

use crate::stamps::{guid, now};

/// A failed request. The message is for the caller; reasons that must not be revealed are
/// logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ProvisioningFailure {
    pub(crate) code: ProvisioningErrorCode,
    pub(crate) message: String,
}

impl ProvisioningFailure {
    /// Returns a failure with a message.
    pub(crate) fn new(
        code: ProvisioningErrorCode,
        message: impl Into<String>,
    ) -> ProvisioningFailure {
        ProvisioningFailure { code, message: message.into() }
    }

    /// Returns the failure of an invalid request.
    pub(crate) fn invalid(message: impl Into<String>) -> ProvisioningFailure {
        ProvisioningFailure::new(ProvisioningErrorCode::BadRequest, message)
    }

    /// Returns the body of the answer.
    pub(crate) fn to_error(&self) -> ProvisioningError {
        ProvisioningError {
            error_code: self.code.number(),
            tracking_id: guid(),
            message: self.message.clone(),
            timestamp_utc: now(),
            info: Default::default(),
        }
    }
}

/// Returns a failure with the message of the service for this code.
impl From<ProvisioningErrorCode> for ProvisioningFailure {
    fn from(code: ProvisioningErrorCode) -> ProvisioningFailure {
        ProvisioningFailure::new(code, code.message())
    }
}

/// Converts a failure of the hub's registry.
impl From<HubError> for ProvisioningFailure {
    fn from(error: HubError) -> ProvisioningFailure {
        let code = match error.code {
            ErrorCode::ArgumentInvalid => ProvisioningErrorCode::BadRequest,
            _ => ProvisioningErrorCode::Internal,
        };
        ProvisioningFailure::new(code, error.message)
    }
}
