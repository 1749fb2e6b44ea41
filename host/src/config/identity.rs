//! `[hub.identity]`: the certificate that the device signs in with, and its key.

use std::fmt;
use std::path::{Path, PathBuf};

use super::pkcs11_uri::Pkcs11Uri;
use super::{ConfigError, file};

/// Certificate of a device and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySection {
    /// PEM file of the device's certificate, followed by those of intermediate authorities.
    pub certificate_file: PathBuf,
    /// Key of the certificate.
    pub key: KeySource,
}

/// Place of a certificate's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// PEM file.
    File(PathBuf),
    /// Token, which keeps the key.
    Token(Box<Pkcs11Uri>),
}

impl KeySource {
    /// Returns the file of the key, or of the PIN of its token.
    pub(crate) fn secret_file(&self) -> Option<&Path> {
        match self {
            KeySource::File(path) => Some(path),
            KeySource::Token(uri) => uri.pin_file.as_deref(),
        }
    }
}

impl fmt::Display for KeySource {
    /// Writes the path of the file, or the URI without its query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::File(path) => path.display().fmt(f),
            KeySource::Token(uri) => uri.fmt(f),
        }
    }
}

pub(super) fn identity(
    section: file::IdentityKeys,
    directory: &Path,
) -> Result<IdentitySection, ConfigError> {
    const TABLE: &str = "hub.identity";
    let key = key(TABLE, section.key_file, section.key_uri, directory)?;
    let key = key.ok_or(ConfigError::NoKey { table: TABLE })?;
    Ok(IdentitySection { certificate_file: directory.join(section.certificate_file), key })
}

/// Returns the key that `key_file` or `key_uri` in a table names.
pub(super) fn key(
    table: &'static str,
    file: Option<PathBuf>,
    uri: Option<String>,
    directory: &Path,
) -> Result<Option<KeySource>, ConfigError> {
    match (file, uri) {
        (None, None) => Ok(None),
        (Some(file), None) => Ok(Some(KeySource::File(directory.join(file)))),
        (None, Some(uri)) => {
            let uri = Pkcs11Uri::parse(&uri, directory)
                .map_err(|source| ConfigError::KeyUri { table, source })?;
            Ok(Some(KeySource::Token(Box::new(uri))))
        }
        (Some(_), Some(_)) => Err(ConfigError::TwoKeys { table }),
    }
}
