//! Signatures of images: sigstore bundles by public key, as `cosign` 3 stores them.
//!
//! [`verify`] accepts a statement only if its subject is the pinned digest and its predicate
//! is a signature, so that a signed list of parts does not count as one. [`sign`] writes the
//! same form.
//!
//! Certificates, transparency logs and time stamps are not used: a device often has no way to
//! reach them. Ed25519 keys sign in the pure form. `cosign` signs images with the pre-hashed
//! form of Ed25519, so a key that `cosign` also uses must be on P-256.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::Digest;

mod bundle;
mod key;
mod statement;

pub use bundle::BundleError;
pub use key::{KeyError, KeyType, PrivateKey, PublicKey, SignError};
pub(crate) use statement::SIGNATURE;

/// Maximum number of bundles that are examined for one image.
pub const MAX_BUNDLES: usize = 16;

/// Maximum length of a bundle, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 1024 * 1024;

/// Maximum number of refused bundles in a message.
const MAX_REASONS: usize = 3;

/// Returns the path of the bundle that signs a local file: `FILE.sigstore.json`.
#[must_use]
pub fn bundle_path(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".sigstore.json");
    path.into()
}

/// A bundle found for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The digest of the bundle.
    pub digest: Digest,
    /// The JSON text.
    pub json: Vec<u8>,
}

impl Bundle {
    /// Returns the bundle with this text.
    #[must_use]
    pub fn new(json: Vec<u8>) -> Bundle {
        Bundle { digest: Digest::of(&json), json }
    }

    /// Returns the id of the key that the bundle names, which proves nothing; `None` for a
    /// malformed bundle.
    #[must_use]
    pub fn key_id(&self) -> Option<String> {
        bundle::named_key(&self.json)
    }
}

/// A valid signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The id of the key that made the signature: [`PublicKey::id`].
    pub key: String,
    /// The digest of the bundle.
    pub bundle: Digest,
    /// The signed annotations of the statement.
    pub annotations: BTreeMap<String, String>,
}

/// Reason why an image does not count as signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No trusted key is configured.
    #[error("no key is trusted")]
    NoKeys,
    /// The image has no bundle.
    #[error("{0} has no signature")]
    Unsigned(Digest),
    /// No bundle of the image is valid.
    #[error("no signature of {digest} is valid{}", Reasons(.reasons))]
    Invalid {
        /// The digest of the image.
        digest: Digest,
        /// The digest of each bundle, with the reason.
        reasons: Vec<(Digest, BundleError)>,
    },
}

impl Refusal {
    /// Adds the bundles that were found and could not be read.
    pub(crate) fn with_unreadable(self, unreadable: &[(Digest, String)]) -> Refusal {
        let (digest, mut reasons) = match self {
            Refusal::Unsigned(digest) if !unreadable.is_empty() => (digest, Vec::new()),
            Refusal::Invalid { digest, reasons } => (digest, reasons),
            other => return other,
        };
        let reason = |(bundle, reason): &(Digest, String)| {
            (*bundle, BundleError::Unreadable(reason.clone()))
        };
        reasons.extend(unreadable.iter().map(reason));
        Refusal::Invalid { digest, reasons }
    }
}

struct Reasons<'a>(&'a [(Digest, BundleError)]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_unreadable =
            |(_, reason): &&(Digest, BundleError)| matches!(reason, BundleError::Unreadable(_));
        match self.0.iter().filter(is_unreadable).count() {
            0 => {}
            unreadable => write!(f, ", and {unreadable} of {} cannot be read", self.0.len())?,
        }
        for (index, (bundle, reason)) in self.0.iter().take(MAX_REASONS).enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(f, "{separator}bundle {}… {reason}", &bundle.hex()[..12])?;
        }
        match self.0.len().saturating_sub(MAX_REASONS) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Returns the first valid signature of `digest` by one of `keys`. Examines at most
/// [`MAX_BUNDLES`] bundles.
pub fn verify(
    bundles: &[Bundle],
    digest: &Digest,
    keys: &[PublicKey],
) -> Result<Verified, Refusal> {
    if keys.is_empty() {
        return Err(Refusal::NoKeys);
    }
    if bundles.is_empty() {
        return Err(Refusal::Unsigned(*digest));
    }
    let mut reasons = Vec::new();
    for found in bundles.iter().take(MAX_BUNDLES) {
        match bundle::verify(&found.json, digest, keys) {
            Ok((key, annotations)) => {
                return Ok(Verified { key: key.id(), bundle: found.digest, annotations });
            }
            Err(reason) => reasons.push((found.digest, reason)),
        }
    }
    Err(Refusal::Invalid { digest: *digest, reasons })
}

/// Returns a bundle with a signature of `digest`. The annotations are signed too.
pub fn sign(
    key: &PrivateKey,
    digest: &Digest,
    annotations: &BTreeMap<String, String>,
) -> Result<Bundle, SignError> {
    bundle::sign(key, digest, annotations).map(Bundle::new)
}

#[cfg(test)]
mod tests;
