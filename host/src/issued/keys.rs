//! Keys and signing requests for certificates that another authority issues.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use super::request::RequestKey;
use super::{IssuedError, to_pem};
use crate::config::KeySource;
use crate::pkcs11::RequestTokenKey;
use crate::secret_file::{self, SecretFileError};

/// Creates a P-384 key. Refuses to replace a key. Blocks.
pub(crate) fn create_key(source: &KeySource) -> Result<(), IssuedError> {
    let path = match source {
        KeySource::Token(uri) => return Ok(RequestTokenKey::create(uri)?),
        KeySource::File(path) => path,
    };
    let pem = RequestKey::generate()?.to_pem().unwrap_or_default();
    let mut options = File::options();
    let opened = options.write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| {
        file.write_all(pem.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|source| IssuedError::Key { path: path.clone(), source })
}

/// Returns a signing request with this common name in PEM format. Blocks.
pub(crate) fn signing_request(source: &KeySource, name: &str) -> Result<String, IssuedError> {
    let key = match source {
        KeySource::Token(uri) => RequestKey::in_token(uri)?,
        KeySource::File(path) => {
            let unusable = |source| IssuedError::Key { path: path.clone(), source };
            let pem = secret_file::read(path).map_err(|error| {
                unusable(match error {
                    SecretFileError::Read(source) => source,
                    SecretFileError::Mode(mode) => io::Error::new(
                        io::ErrorKind::PermissionDenied,
                        format!("mode {mode:03o} allows others to read or change it"),
                    ),
                })
            })?;
            let no_key = || IssuedError::Request(format!("{}: no key in PKCS #8", path.display()));
            RequestKey::in_pem(&pem).ok_or_else(no_key)?
        }
    };
    Ok(to_pem("CERTIFICATE REQUEST", &key.request(name)?))
}
