//! `[hub.identity]`: the certificate that the device signs in with.

use std::path::{Path, PathBuf};

use super::file;

/// Settings in `[hub.identity]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySection {
    /// PEM file of the device's certificate, followed by those of intermediate authorities.
    pub certificate_file: PathBuf,
    /// PEM file of the certificate's key.
    pub key_file: PathBuf,
}

pub(super) fn identity(section: file::IdentityKeys, directory: &Path) -> IdentitySection {
    IdentitySection {
        certificate_file: directory.join(section.certificate_file),
        key_file: directory.join(section.key_file),
    }
}
