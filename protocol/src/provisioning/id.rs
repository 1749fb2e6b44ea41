//! Validated names: id scopes, registration ids and operation ids.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{DeviceId, IdError, check, forbidden};

/// Maximum length of a registration id, in characters. A certificate's common name has at
/// most 64 (RFC 5280, appendix A.1).
const MAX_REGISTRATION_ID_CHARACTERS: usize = 128;

/// Maximum length of an operation id, in characters. The C SDK keeps no more.
const MAX_OPERATION_ID_CHARACTERS: usize = 64;

/// Maximum length of an id scope, in characters. Those of Azure have eleven.
const MAX_ID_SCOPE_CHARACTERS: usize = 64;

/// The id of an instance of the service, such as `0ne00112233`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdScope(String);

/// The id of a device at the service. Two ids that differ only in case are the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistrationId(String);

/// The id of a registration in progress.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OperationId(String);

impl RegistrationId {
    /// Returns the id as it was sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id in lower case, which is the same for equal ids.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Returns the id of the device that is created unless the enrollment names another one.
    #[must_use]
    pub fn device_id(&self) -> DeviceId {
        self.0.parse().expect("registration ids have only characters of device ids")
    }
}

impl PartialEq for RegistrationId {
    fn eq(&self, other: &RegistrationId) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for RegistrationId {}

impl IdScope {
    /// Returns the id scope as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl OperationId {
    /// Returns the id as a string slice.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdScope {
    type Err = IdError;

    fn from_str(text: &str) -> Result<IdScope, IdError> {
        check("id scope", text, MAX_ID_SCOPE_CHARACTERS, |c| c.is_ascii_alphanumeric())?;
        Ok(IdScope(text.to_owned()))
    }
}

impl FromStr for RegistrationId {
    type Err = IdError;

    /// Accepts letters, digits and `- . _ :`. The last character must be a letter, a digit or a
    /// dash (documentation of the Device Provisioning Service, "Registration ID").
    fn from_str(text: &str) -> Result<RegistrationId, IdError> {
        const KIND: &str = "registration id";
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        check(KIND, text, MAX_REGISTRATION_ID_CHARACTERS, allowed)?;
        match text.chars().last().filter(|c| ".:_".contains(*c)) {
            Some(last) => Err(forbidden(KIND, text, last)),
            None => Ok(RegistrationId(text.to_owned())),
        }
    }
}

impl FromStr for OperationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<OperationId, IdError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        check("operation id", text, MAX_OPERATION_ID_CHARACTERS, allowed)?;
        Ok(OperationId(text.to_owned()))
    }
}

macro_rules! text {
    ($name:ident) => {
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(IdScope);
text!(RegistrationId);
text!(OperationId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_id_has_the_documented_characters() {
        let all = "azAZ09-._:x";
        assert_eq!(all.parse::<RegistrationId>().unwrap().device_id().as_str(), all);
        for bad in ["", "a b", "a/b", "a#", "a.", "a:", "a_", "ä"] {
            assert!(bad.parse::<RegistrationId>().is_err(), "{bad:?}");
        }
        let error = "sensor_".parse::<RegistrationId>().unwrap_err();
        assert_eq!(error.to_string(), "registration id `sensor_` has a '_', which is not allowed");
        assert!("d".repeat(129).parse::<RegistrationId>().is_err());
    }

    #[test]
    fn case_does_not_distinguish_registration_ids() {
        let (one, other): (RegistrationId, RegistrationId) =
            ("SN-7".parse().unwrap(), "sn-7".parse().unwrap());
        assert_eq!(one, other);
        assert_eq!(one.folded(), other.folded());
        assert_eq!(one.as_str(), "SN-7");
    }

    #[test]
    fn id_scopes_and_operation_ids_of_azure_are_accepted() {
        assert!("0ne00112233".parse::<IdScope>().is_ok());
        let operation = "5.506603669bd3e2bf.b3602f8f-76fe-4341-9214-bb6cfb891b8a";
        assert_eq!(operation.parse::<OperationId>().unwrap().to_string(), operation);
        assert!("0ne/x".parse::<IdScope>().is_err());
        assert!("a&b".parse::<OperationId>().is_err());
    }
}
