//! Errors of malformed connection strings.

use crate::host_name::HostNameError;
use crate::id::IdError;
use crate::sas::{KeyError, SasError};

/// A malformed connection string. The message names the wrong part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionStringError {
    /// An empty string.
    #[error("connection string is empty")]
    EmptyString,
    /// A string in quotes. Shells remove quotes, but files and most services do not.
    #[error("connection string is in quotes; leave them out")]
    Quoted,
    /// A part without `=`. The error shows its number only, as its contents may be a
    /// key.
    #[error("part {0} of the connection string is not NAME=VALUE")]
    NotAPair(usize),
    /// A name that this kind of connection string does not have.
    #[error("connection string has `{0}`, which is not a part of a {1} connection string")]
    Unknown(String, &'static str),
    /// The connection string of a service where that of a device is expected.
    #[error("connection string belongs to a service, not to a device")]
    ServiceString,
    /// The connection string of a device where that of a service is expected.
    #[error("connection string belongs to a device, not to a service")]
    DeviceString,
    /// A string before `=` that does not look like a name. The error does not show it,
    /// as it may be part of a key.
    #[error("part {0} of the connection string has no name that is valid for a {1}")]
    NotAName(usize, &'static str),
    /// A repeated name.
    #[error("connection string has `{0}` twice")]
    Duplicate(&'static str),
    /// A name without a value.
    #[error("connection string has an empty `{0}`")]
    Empty(&'static str),
    /// A required name that is missing.
    #[error("connection string has no `{0}`")]
    Missing(&'static str),
    /// More than one credential.
    #[error("connection string has both `{0}` and `{1}`")]
    Both(&'static str, &'static str),
    /// An `x509` part with a value other than `true`.
    #[error("connection string's `x509` is not `true`")]
    X509,
    /// A malformed host name.
    #[error("connection string's `{0}`")]
    Host(&'static str, #[source] HostNameError),
    /// A malformed id.
    #[error("connection string's `{0}`")]
    Id(&'static str, #[source] IdError),
    /// A malformed key.
    #[error("connection string's `SharedAccessKey`")]
    Key(#[source] KeyError),
    /// A malformed token.
    #[error("connection string's `SharedAccessSignature`")]
    Token(#[source] SasError),
}
