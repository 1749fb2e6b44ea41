//! Keys whose signatures the host accepts: those of images and of compiled plugins.

use std::io;
use std::path::PathBuf;

use oci::signature::{KeyError, PublicKey};

use crate::config::TrustSection;

/// Maximum size of a file of keys, in bytes.
const MAX_KEY_BYTES: usize = 64 * 1024;

/// Error in a file that `keys` under `[host.trust]` names.
#[derive(Debug, thiserror::Error)]
pub enum TrustedKeyError {
    /// File that cannot be read.
    #[error("[host.trust]: {}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// File without usable public keys.
    #[error("[host.trust]: {}", .path.display())]
    Key {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: KeyError,
    },
}

impl TrustedKeyError {
    /// Returns a hint on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            TrustedKeyError::Read { .. } => {
                "set `keys` under [host.trust] to PEM files of public keys"
            }
            TrustedKeyError::Key { .. } => {
                "`behaviour keygen` writes a pair of keys; the device needs the public one"
            }
        }
    }
}

/// Reads the keys. Blocks.
pub(crate) fn trusted_keys(section: &TrustSection) -> Result<Vec<PublicKey>, TrustedKeyError> {
    let mut keys = Vec::new();
    for path in &section.keys {
        let path = || path.clone();
        let bytes = program::text::read_bytes(&path())
            .map_err(|source| TrustedKeyError::Read { path: path(), source })?;
        let bytes = &bytes[..bytes.len().min(MAX_KEY_BYTES)];
        let read = PublicKey::all_from_pem(bytes);
        keys.extend(read.map_err(|source| TrustedKeyError::Key { path: path(), source })?);
    }
    Ok(keys)
}
