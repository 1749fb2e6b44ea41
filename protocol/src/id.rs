//! Validated names: ids of devices, modules, requests, configurations and jobs, and names of
//! methods.
//!
//! Parsing validates a name, so every value of these types is valid.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Maximum length of a device or module id, in characters.
pub const MAX_ID_CHARACTERS: usize = 128;

/// Maximum length of a method name, in characters.
pub const MAX_METHOD_NAME_CHARACTERS: usize = 128;

/// Maximum length of a request id, in characters.
pub const MAX_REQUEST_ID_CHARACTERS: usize = 128;

/// Maximum length of the id of a configuration, in characters.
pub const MAX_CONFIGURATION_ID_CHARACTERS: usize = 128;

/// Maximum length of the id of a job, in characters.
pub const MAX_JOB_ID_CHARACTERS: usize = 64;

/// A malformed name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// An empty name.
    #[error("{kind} is empty")]
    Empty {
        /// The kind of name, such as "device id".
        kind: &'static str,
    },
    /// A name longer than the limit of its kind.
    #[error("{kind} has {length} characters; at most {max} are allowed")]
    TooLong {
        /// The kind of name.
        kind: &'static str,
        /// The length, in characters.
        length: usize,
        /// The limit, in characters.
        max: usize,
    },
    /// A name shorter than the minimum of its kind.
    #[error("{kind} has {length} characters; at least {min} are required")]
    TooShort {
        /// The kind of name.
        kind: &'static str,
        /// The length, in characters.
        length: usize,
        /// The minimum, in characters.
        min: usize,
    },
    /// A character that is not allowed in this kind of name.
    #[error("{kind} `{name}` has a {character:?}, which is not allowed")]
    Character {
        /// The kind of name.
        kind: &'static str,
        /// The whole name, escaped.
        name: String,
        /// The first forbidden character.
        character: char,
    },
}

/// Returns the MQTT client id of a device, or of a module of the device: `{device}` or
/// `{device}/{module}`.
#[must_use]
pub fn client_id(device: &DeviceId, module: Option<&ModuleId>) -> String {
    match module {
        None => device.to_string(),
        Some(module) => format!("{device}/{module}"),
    }
}

/// Checks the length and the characters of an id.
pub(crate) fn check(
    kind: &'static str,
    text: &str,
    max: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { kind });
    }
    let length = text.chars().count();
    if length > max {
        return Err(IdError::TooLong { kind, length, max });
    }
    match text.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(character) => Err(forbidden(kind, text, character)),
    }
}

/// Returns the error for an id with a forbidden character.
pub(crate) fn forbidden(kind: &'static str, text: &str, character: char) -> IdError {
    IdError::Character { kind, name: json::escape(text).into_owned(), character }
}

/// Returns `true` for letters, digits and `- . + % _ # * ? ! ( ) , : = @ $ '`
/// (documentation of IoT Hub, identity registry).
fn in_identity(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-.+%_#*?!(),:=@$'".contains(c)
}

/// Returns `true` for printable ASCII characters except space, tab and
/// `$ ( ) < > @ , ; : \ " / [ ] ? = { }` (documentation of IoT Hub, direct methods).
fn in_method_name(c: char) -> bool {
    c.is_ascii_graphic() && !"$()<>@,;:\\\"/[]?={}".contains(c)
}

/// Returns `true` for characters that need no encoding in the query of a topic. IoT Hub
/// uses short integers and hexadecimal numbers as request ids, clients use UUIDs.
fn in_request_id(c: char) -> bool {
    c.is_ascii_graphic() && !"/&#+?=$%\"".contains(c)
}

/// Returns `true` for lower-case letters, digits and `- + % _ * ! '` (documentation of IoT Hub,
/// automatic device management).
fn in_configuration_id(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || "-+%_*!'".contains(c)
}

/// Returns `true` for letters, digits and `-` (documentation of IoT Hub, jobs).
fn in_job_id(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-'
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as a string slice.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check($kind, text, $max, $allowed)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                check($kind, &text, $max, $allowed)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The id of a device; case-sensitive.
    DeviceId, "device id", MAX_ID_CHARACTERS, in_identity
);
name!(
    /// The id of a module, unique within its device; case-sensitive.
    ModuleId, "module id", MAX_ID_CHARACTERS, in_identity
);
name!(
    /// The name of a direct method; case-sensitive.
    MethodName, "method name", MAX_METHOD_NAME_CHARACTERS, in_method_name
);
name!(
        /// The id of a method call or a twin request, which the answer repeats.
    RequestId, "request id", MAX_REQUEST_ID_CHARACTERS, in_request_id
);
name!(
    /// The id of an automatic configuration.
    ConfigurationId, "configuration id", MAX_CONFIGURATION_ID_CHARACTERS, in_configuration_id
);
name!(
    /// The id of a job; case-sensitive.
    JobId, "job id", MAX_JOB_ID_CHARACTERS, in_job_id
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_accepts_the_characters_of_the_identity_registry() {
        let all = "azAZ09-.+%_#*?!(),:=@$'";
        assert_eq!(all.parse::<DeviceId>().unwrap().as_str(), all);
        for bad in ["", "a b", "a/b", "ä", "a\"b", "a\u{7}"] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_at_its_limit_is_accepted_and_a_longer_one_is_refused() {
        assert!("d".repeat(128).parse::<DeviceId>().is_ok());
        let error = "d".repeat(129).parse::<DeviceId>().unwrap_err();
        assert_eq!(error.to_string(), "device id has 129 characters; at most 128 are allowed");
    }

    #[test]
    fn a_command_of_a_component_is_a_valid_method_name() {
        assert!("thermostat1*reboot".parse::<MethodName>().is_ok());
        let error = "re boot".parse::<MethodName>().unwrap_err();
        assert_eq!(error.to_string(), "method name `re boot` has a ' ', which is not allowed");
    }

    #[test]
    fn a_name_in_json_is_validated() {
        assert!(serde_json::from_str::<DeviceId>("\"d 1\"").is_err());
        assert_eq!(serde_json::from_str::<DeviceId>("\"d1\"").unwrap().as_str(), "d1");
    }
}
