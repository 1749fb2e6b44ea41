//! Errors of keys in tokens, with their hints.

use std::io;
use std::path::PathBuf;

use cryptoki::error::{Error, RvError};

/// Reason why a key in a token cannot be used. The message names the key by its URI without the
/// query, and never shows the PIN.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Library that cannot be loaded or initialised.
    #[error("PKCS #11 library {}: {reason}", .path.display())]
    Module {
        /// Path of the library.
        path: PathBuf,
        /// Cause, in one line.
        reason: String,
    },
    /// No token with these attributes.
    #[error("no token matches `{0}`")]
    NoToken(String),
    /// Several tokens with these attributes.
    #[error("more than one token matches `{0}`")]
    ManyTokens(String),
    /// Token that needs a PIN.
    #[error("the token of `{0}` needs a PIN")]
    NoPin(String),
    /// PIN file that cannot be read.
    #[error("PIN file {}", .path.display())]
    ReadPin {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// PIN file that others can read or change.
    #[error("PIN file {}: mode {mode:03o} allows others to read or change it", .path.display())]
    PinMode {
        /// Path of the file.
        path: PathBuf,
        /// Permission bits.
        mode: u32,
    },
    /// PIN that the token refused. It is not sent again until its file changes.
    #[error("the token of `{0}` refuses the PIN, which is not sent again until its file changes")]
    WrongPin(String),
    /// Token that has only one attempt left.
    #[error("the token of `{0}` has one attempt at its PIN left, which is not used")]
    LastAttempt(String),
    /// Token that accepts no PIN.
    #[error("the PIN of the token of `{0}` is locked")]
    Locked(String),
    /// No key with this label and id.
    #[error("the token has no key that matches `{0}`")]
    NoKey(String),
    /// Several keys with this label and id.
    #[error("the token has more than one key that matches `{0}`")]
    ManyKeys(String),
    /// Key that exists already.
    #[error("the token has a key that matches `{0}` already")]
    Exists(String),
    /// Key without its public part.
    #[error("the token has no public key that belongs to `{0}`")]
    NoPublicKey(String),
    /// Key that no certificate is requested for.
    #[error("the key `{0}` is not on the curve P-256 or P-384")]
    Curve(String),
    /// Certificate for a key that tokens are not used for.
    #[error("`{0}`: the certificate is not for a P-256, P-384 or RSA key")]
    Kind(String),
    /// Key of another certificate.
    #[error("the key `{0}` does not belong to the certificate")]
    OtherKey(String),
    /// Failed operation.
    #[error("the token of `{key}` failed: {reason}")]
    Failed {
        /// URI of the key.
        key: String,
        /// Cause, in one line.
        reason: String,
    },
}

impl TokenError {
    /// Returns a hint on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            TokenError::Module { .. } => {
                "set `module-path` to the library of the token, such as \
                 /usr/lib/softhsm/libsofthsm2.so"
            }
            TokenError::NoToken(_) => {
                "insert the token, or correct `token` and `serial`; `pkcs11-tool --module LIBRARY \
                 --list-slots` shows them"
            }
            TokenError::ManyTokens(_) => "add `serial` to the URI",
            TokenError::NoPin(_) => "add `pin-source=file:PATH` to the query of the URI",
            TokenError::ReadPin { .. } => {
                "set `pin-source` to a file with the PIN, which this user can read"
            }
            TokenError::PinMode { .. } => "run `chmod 600` on it, as the user of the host",
            TokenError::WrongPin(_) => "write the PIN of the token's user into the file",
            TokenError::LastAttempt(_) => {
                "check the PIN with `pkcs11-tool --login`, which resets the count if it is right"
            }
            TokenError::Locked(_) => "unlock it with the PIN of the security officer",
            TokenError::NoKey(_) => {
                "correct `object` and `id`; `pkcs11-tool --login --list-objects` shows the keys"
            }
            TokenError::ManyKeys(_) => "add `id` to the URI, and give each key an id of its own",
            TokenError::Exists(_) => "choose another `object` or `id`, or use the existing key",
            TokenError::NoPublicKey(_) => {
                "store the public key with the `id` of the private one, or create a new key with \
                 `behaviour-host identity create-key`"
            }
            TokenError::Curve(_) => "create a P-384 key with `behaviour-host identity create-key`",
            TokenError::Kind(_) => "issue a certificate for a P-256, P-384 or RSA key",
            TokenError::OtherKey(_) => {
                "name the key for which the certificate was issued, or issue one for this key"
            }
            TokenError::Failed { .. } => "check the token, and the log of its library",
        }
    }
}

/// Returns the cause of a failure in one line: the name of a return code, or the message of the
/// loader.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Pkcs11(code, function) => format!("{function:?}: {code:?}"),
        other => json::excerpt(&other.to_string(), 200).into_owned(),
    }
}

/// Returns `true` if the error has this return code.
pub(super) fn is(error: &Error, code: RvError) -> bool {
    matches!(error, Error::Pkcs11(found, _) if std::mem::discriminant(found) == std::mem::discriminant(&code))
}
