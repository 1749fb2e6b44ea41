//! Acceptance of plugins that `behaviour compile` has compiled.
//!
//! Compiled code runs outside of the sandbox if it is not the compiler's work. So a compiled plugin
//! needs a signature of a key under `[host.trust]`, in the file `FILE.sigstore.json` beside it, or
//! must be a file that nobody but the host's user and root can write. An image must contain a
//! component, which the host compiles.

use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use oci::Digest;
use oci::signature::{self, Bundle, MAX_BUNDLE_BYTES, Refusal};

use super::file::{Owner, WholeFile};
use crate::config::{PluginSection, SignatureRule, TrustSection};
use crate::trusted_keys::{TrustedKeyError, trusted_keys};

/// Reason why a compiled plugin is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum NotAccepted {
    /// Code in an image.
    #[error("is compiled already; an image must contain a component")]
    Image,
    /// File of another user.
    #[error("is compiled already, has no signature, and belongs to user {0}")]
    Owner(u32),
    /// File that others can write to.
    #[error("is compiled already, has no signature, and others can write to it (mode {:03o})", .0 & 0o777)]
    Writable(u32),
    /// File without the signature that the configuration demands.
    #[error("is compiled already, and has no signature in {}", .0.display())]
    Unsigned(PathBuf),
    /// Signature that is not valid.
    #[error("is compiled already, and not signed by a trusted key")]
    Signature(#[source] Refusal),
    /// File of a signature that cannot be read.
    #[error("signature {}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Keys that cannot be read.
    #[error(transparent)]
    Keys(#[from] TrustedKeyError),
}

impl NotAccepted {
    /// Returns a hint for the operator.
    pub(super) fn hint(&self) -> &'static str {
        match self {
            NotAccepted::Image => {
                "publish the component; for a host without the compiler, install the compiled file, \
                 and name it by `file`"
            }
            NotAccepted::Owner(_) | NotAccepted::Writable(_) => {
                "sign it with `behaviour compile --key FILE`, or make the host's user or root its \
                 owner, with mode 644"
            }
            NotAccepted::Unsigned(_) => "sign it with `behaviour compile --key FILE`",
            NotAccepted::Signature(_) => {
                "compile it again with `--key FILE`, whose public key is in `keys` under [host.trust]"
            }
            NotAccepted::Read { source, .. } if source.kind() == io::ErrorKind::InvalidInput => {
                "replace it by the file that `behaviour compile --key FILE` writes"
            }
            NotAccepted::Read { .. } => "make the file readable for the host's user",
            NotAccepted::Keys(error) => error.hint(),
        }
    }
}

/// Checks the origin of a compiled plugin. A signature is decisive if there is one and keys are
/// trusted. Blocks.
pub(super) fn accept(
    section: &PluginSection,
    file: &WholeFile,
    trust: &TrustSection,
) -> Result<(), NotAccepted> {
    if section.from_image {
        return Err(NotAccepted::Image);
    }
    let path = signature::bundle_path(&section.file);
    let bundle = (!trust.keys.is_empty()).then(|| read_bundle(&path)).transpose();
    let bundle = bundle.map_err(|source| NotAccepted::Read { path: path.clone(), source })?;
    match bundle.flatten() {
        Some(bundle) => {
            let digest = Digest::of(&file.bytes);
            let signed = signature::verify(&[bundle], &digest, &trusted_keys(trust)?);
            signed.map(drop).map_err(NotAccepted::Signature)
        }
        None if trust.signature == SignatureRule::Always => Err(NotAccepted::Unsigned(path)),
        None => check_owner(file.owner, rustix::process::geteuid().as_raw()),
    }
}

/// Reads a signature. Returns `None` if there is none.
fn read_bundle(path: &Path) -> io::Result<Option<Bundle>> {
    let file = match program::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut json = Vec::new();
    file.take(MAX_BUNDLE_BYTES as u64 + 1).read_to_end(&mut json)?;
    Ok(Some(Bundle::new(json)))
}

/// Checks that only `user` and root can have written a file.
fn check_owner(owner: Owner, user: u32) -> Result<(), NotAccepted> {
    if owner.user != user && owner.user != 0 {
        return Err(NotAccepted::Owner(owner.user));
    }
    match owner.mode & 0o022 {
        0 => Ok(()),
        _ => Err(NotAccepted::Writable(owner.mode)),
    }
}

#[cfg(test)]
mod tests;
