//! Topic filters that devices can subscribe to.

use std::fmt;
use std::str::FromStr;

use super::{
    CREDENTIAL_ANSWER, DESIRED, HubTopic, METHOD_REQUEST, TWIN_ANSWER, TopicError, escaped,
};
use crate::id::{DeviceId, ModuleId};

/// A topic filter that a device can subscribe to. IoT Hub supports no other filters, and
/// no wildcards except the final `#`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Direct methods.
    Methods,
    /// Answers to twin requests.
    TwinAnswers,
    /// Changes of the desired properties.
    Desired,
    /// Answers to requests for certificates.
    CredentialAnswers,
    /// Cloud-to-device messages.
    CloudToDevice {
        /// The device that receives them.
        device: DeviceId,
    },
    /// Inputs of an IoT Edge module.
    ModuleInputs {
        /// The module's device.
        device: DeviceId,
        /// The module.
        module: ModuleId,
    },
}

impl Filter {
    /// Returns `true` if the filter matches messages with this topic.
    #[must_use]
    pub fn covers(&self, topic: &HubTopic) -> bool {
        match (self, topic) {
            (Self::Methods, HubTopic::Method { .. })
            | (Self::TwinAnswers, HubTopic::TwinAnswer { .. })
            | (Self::Desired, HubTopic::Desired { .. })
            | (Self::CredentialAnswers, HubTopic::CredentialAnswer { .. }) => true,
            (Self::CloudToDevice { device: own }, HubTopic::CloudToDevice { device, .. }) => {
                own == device
            }
            _ => false,
        }
    }
}

impl FromStr for Filter {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Filter, TopicError> {
        let unknown = || TopicError::Unknown(escaped(text));
        let tree = text.strip_suffix('#').ok_or_else(unknown)?;
        match tree {
            METHOD_REQUEST => return Ok(Self::Methods),
            TWIN_ANSWER => return Ok(Self::TwinAnswers),
            DESIRED => return Ok(Self::Desired),
            CREDENTIAL_ANSWER => return Ok(Self::CredentialAnswers),
            _ => {}
        }
        let rest = tree.strip_prefix("devices/").ok_or_else(unknown)?;
        let (device, rest) = rest.split_once('/').ok_or_else(unknown)?;
        // Device ids may contain these, but in a filter they are wildcards.
        if device.contains(['+', '#']) {
            return Err(unknown());
        }
        let device = device.parse()?;
        if rest == "messages/devicebound/" {
            return Ok(Self::CloudToDevice { device });
        }
        let rest = rest.strip_prefix("modules/").ok_or_else(unknown)?;
        match rest.split_once('/') {
            Some((module, "" | "inputs/")) => {
                Ok(Self::ModuleInputs { device, module: module.parse()? })
            }
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Methods => write!(f, "{METHOD_REQUEST}#"),
            Self::TwinAnswers => write!(f, "{TWIN_ANSWER}#"),
            Self::Desired => write!(f, "{DESIRED}#"),
            Self::CredentialAnswers => write!(f, "{CREDENTIAL_ANSWER}#"),
            Self::CloudToDevice { device } => write!(f, "devices/{device}/messages/devicebound/#"),
            Self::ModuleInputs { device, module } => {
                write!(f, "devices/{device}/modules/{module}/inputs/#")
            }
        }
    }
}
