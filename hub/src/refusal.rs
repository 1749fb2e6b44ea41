//! Refused requests of configurations and jobs.
//!
//! Some names have no number in the documentation of IoT Hub, so they are no
//! [`ErrorCode`](protocol::error::ErrorCode)s.

use protocol::error::HubError;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A documented error.
    Hub(HubError),
    /// An error with a name but without a number.
    Named {
        /// The HTTP status.
        status: u16,
        /// The name after `ErrorCode:`.
        name: &'static str,
        /// The message.
        message: String,
    },
}

impl Refusal {
    pub(crate) fn named(status: u16, name: &'static str, message: impl Into<String>) -> Refusal {
        Refusal::Named { status, name, message: message.into() }
    }

    /// Returns the refusal of the content of a configuration.
    pub(crate) fn content(message: impl Into<String>) -> Refusal {
        Refusal::named(400, "InvalidConfigurationContent", message)
    }
}

impl From<HubError> for Refusal {
    fn from(error: HubError) -> Refusal {
        Refusal::Hub(error)
    }
}
