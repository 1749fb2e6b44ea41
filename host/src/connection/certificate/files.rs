//! Reading and checking of the certificate file and the key file.

use std::path::Path;
use std::sync::Arc;

use program::text;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::SigningKey;
use trust::Certificate;

use super::{CertificateError, RequiredName};
use crate::secret_file::{self, SecretFileError};

/// Smallest RSA key, which is also the smallest that TLS libraries sign with.
const MIN_RSA_BITS: usize = 2048;

/// Returns the certificates of a file, the device's own first.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let bytes = text::read_bytes(path)
        .map_err(|source| CertificateError::ReadCertificate { path: path.to_owned(), source })?;
    match CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(CertificateError::NoCertificate { path: path.to_owned() }),
    }
}

/// Checks the device's certificate, except for its validity, and returns the facts.
pub(super) fn check(
    path: &Path,
    leaf: &CertificateDer<'_>,
    name: Option<&RequiredName>,
) -> Result<Certificate, CertificateError> {
    let path = || path.to_owned();
    let facts = Certificate::parse(leaf)
        .map_err(|source| CertificateError::Malformed { path: path(), source })?;
    let has_name = name.is_none_or(|name| name.is(facts.common_name.as_deref()));
    // A self-signed certificate is registered by its thumbprint, so its name is free. OpenSSL
    // marks self-signed certificates as those of authorities unless it is told otherwise.
    if facts.is_authority && !(facts.is_self_issued && has_name) {
        return Err(CertificateError::Authority { path: path() });
    }
    if let Some(name) = name
        && !has_name
        && (!facts.is_self_issued || name.is_for_all())
    {
        let found = facts.common_name.as_deref().unwrap_or_default();
        let found = json::readable(found).into_owned();
        let (kind, expected) = name.kind_and_text();
        return Err(CertificateError::Name { path: path(), found, kind, expected });
    }
    match facts.rsa_bits {
        Some(bits) if bits < MIN_RSA_BITS => Err(CertificateError::Weak { path: path(), bits }),
        _ => Ok(facts),
    }
}

/// Reads the key. Refuses a file that other users can read.
pub(super) fn read_key(path: &Path) -> Result<Arc<dyn SigningKey>, CertificateError> {
    let bytes = secret_file::read(path).map_err(|error| {
        let path = path.to_owned();
        match error {
            SecretFileError::Read(source) => CertificateError::ReadKey { path, source },
            SecretFileError::Mode(mode) => CertificateError::Mode { path, mode },
        }
    })?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).ok();
    // The errors are dropped, since they could show parts of the file.
    if let Some(key) = key.and_then(|key| any_supported_type(&key).ok()) {
        return Ok(key);
    }
    let encrypted = bytes.windows(9).any(|window| window == b"ENCRYPTED");
    let path = path.to_owned();
    Err(if encrypted {
        CertificateError::Encrypted { path }
    } else {
        CertificateError::NoKey { path }
    })
}
