//! Checked names: ids of devices, modules and requests, and names of methods.
//!
//! Each is checked once, when it is parsed; a value of its type is always valid.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The longest device or module id, in characters.
pub const MAX_ID_CHARACTERS: usize = 128;

/// The longest method name that is accepted, in characters.
pub const MAX_METHOD_NAME_CHARACTERS: usize = 128;

/// The longest request id that is accepted, in characters.
pub const MAX_REQUEST_ID_CHARACTERS: usize = 128;

/// A malformed name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// An empty name.
    #[error("{what} is empty")]
    Empty {
        /// The kind of name: "device id", "method name".
        what: &'static str,
    },
    /// A name longer than the limit of its kind.
    #[error("{what} has {found} characters; at most {most} are allowed")]
    TooLong {
        /// The kind of name.
        what: &'static str,
        /// The length, in characters.
        found: usize,
        /// The limit, in characters.
        most: usize,
    },
    /// A character that this kind of name must not have.
    #[error("{what} `{text}` has a {character:?}, which is not allowed")]
    Character {
        /// The kind of name.
        what: &'static str,
        /// The whole text, escaped.
        text: String,
        /// The first such character.
        character: char,
    },
}

fn check(
    what: &'static str,
    text: &str,
    most: usize,
    allowed: impl Fn(char) -> bool,
) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty { what });
    }
    let found = text.chars().count();
    if found > most {
        return Err(IdError::TooLong { what, found, most });
    }
    match text.chars().find(|c| !allowed(*c)) {
        None => Ok(()),
        Some(character) => {
            Err(IdError::Character { what, text: text.escape_debug().to_string(), character })
        }
    }
}

/// Allows letters, digits and `- . + % _ # * ? ! ( ) , : = @ $ '` (documentation of
/// IoT Hub, identity registry).
fn in_identity(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-.+%_#*?!(),:=@$'".contains(c)
}

/// Allows printable ASCII without `$ ( ) < > @ , ; : \ " / [ ] ? = { }`, space and
/// tab (documentation of IoT Hub, direct methods).
fn in_method_name(c: char) -> bool {
    c.is_ascii_graphic() && !"$()<>@,;:\\\"/[]?={}".contains(c)
}

/// Allows the characters that need no encoding in a topic's query. IoT Hub uses
/// short integers and hexadecimal digits, clients use UUIDs.
fn in_request_id(c: char) -> bool {
    c.is_ascii_graphic() && !"/&#+?=$%\"".contains(c)
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $most:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check($what, text, $most, $allowed)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                check($what, &text, $most, $allowed)?;
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
    /// A device's id on the hub; case matters.
    DeviceId, "device id", MAX_ID_CHARACTERS, in_identity
);
name!(
    /// A module's id below its device; case matters.
    ModuleId, "module id", MAX_ID_CHARACTERS, in_identity
);
name!(
    /// A direct method's name; case matters.
    MethodName, "method name", MAX_METHOD_NAME_CHARACTERS, in_method_name
);
name!(
    /// A request id: ties an answer to a method or a twin request, and is returned
    /// unchanged.
    RequestId, "request id", MAX_REQUEST_ID_CHARACTERS, in_request_id
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_has_the_characters_of_the_identity_registry() {
        let all = "azAZ09-.+%_#*?!(),:=@$'";
        assert_eq!(all.parse::<DeviceId>().unwrap().as_str(), all);
        for bad in ["", "a b", "a/b", "ä", "a\"b", "a\u{7}"] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_at_its_limit_is_accepted_and_one_character_more_is_not() {
        assert!("d".repeat(128).parse::<DeviceId>().is_ok());
        let error = "d".repeat(129).parse::<DeviceId>().unwrap_err();
        assert_eq!(error.to_string(), "device id has 129 characters; at most 128 are allowed");
    }

    #[test]
    fn a_component_command_is_a_method_name() {
        assert!("thermostat1*reboot".parse::<MethodName>().is_ok());
        let error = "re boot".parse::<MethodName>().unwrap_err();
        assert_eq!(error.to_string(), "method name `re boot` has a ' ', which is not allowed");
    }

    #[test]
    fn a_name_in_json_is_checked_too() {
        assert!(serde_json::from_str::<DeviceId>("\"d 1\"").is_err());
        assert_eq!(serde_json::from_str::<DeviceId>("\"d1\"").unwrap().as_str(), "d1");
    }
}
