//! The certificate that was issued to the device, and its key.
//!
//! Both are in one file of the data directory, which is replaced atomically, so a crash leaves a
//! certificate with its own key. The earlier pair is kept in a second file until the hub has
//! accepted the newer one. A key in a token stays there, and the files have the certificates
//! only.
//!
//! This module does not send requests, and does not decide when a certificate is renewed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use trust::{Certificate, MalformedCertificate};

use crate::atomic_file;
use crate::config::{IdentitySection, IssuedSection, KeySource};
use crate::pkcs11::TokenError;
pub(crate) use keys::{create_key, signing_request};
use pem::to_pem;
use request::RequestKey;

mod keys;
mod pem;
mod request;

const FILE_NAME: &str = "device-certificate.pem";
const PREVIOUS_NAME: &str = "device-certificate-previous.pem";

/// The files of an issued certificate.
#[derive(Debug, Clone)]
pub(crate) struct IssuedFile {
    path: PathBuf,
    previous: PathBuf,
    section: IssuedSection,
    /// The common name of the certificates.
    name: String,
}

/// A certificate signing request, and the key for which it asks.
pub(crate) struct SigningRequest {
    /// PKCS #10 in DER.
    pub(crate) csr: Vec<u8>,
    key: RequestKey,
}

/// Reason why no certificate is requested, or an issued one is not used. The message shows no
/// key.
#[derive(Debug, thiserror::Error)]
pub enum IssuedError {
    /// File that cannot be read or written.
    #[error("issued certificate {}", .path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Key file that cannot be read, or that exists already.
    #[error("key file {}", .path.display())]
    Key {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Key in a token that cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Key or request that cannot be created.
    #[error("certificate signing request: {0}")]
    Request(String),
    /// Chain without a certificate.
    #[error("issued certificate")]
    Malformed(#[from] MalformedCertificate),
    /// Certificate for another key.
    #[error("the issued certificate is for another key than the requested one")]
    OtherKey,
    /// Certificate for another device.
    #[error("the issued certificate has the common name `{found}`, not `{expected}`")]
    OtherName {
        /// Common name, escaped.
        found: String,
        /// Requested name.
        expected: String,
    },
    /// Certificate that has expired.
    #[error("the issued certificate expired at {0}, by this machine's clock")]
    Expired(Timestamp),
}

impl IssuedError {
    /// Returns a hint on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            IssuedError::File { .. } => "set `data` under [host] to a writable directory",
            IssuedError::Key { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                "use the existing key, or move it away first"
            }
            IssuedError::Key { .. } => {
                "set `key_file` to a file in a directory of this user, with the mode 600"
            }
            IssuedError::Token(error) => error.hint(),
            IssuedError::Request(_) => "create a P-384 key: `behaviour-host identity create-key`",
            IssuedError::Malformed(_) | IssuedError::OtherKey | IssuedError::OtherName { .. } => {
                "check the certificate policy of the enrollment, `credentialPolicyName`"
            }
            IssuedError::Expired(_) => {
                "check this machine's clock, and the validity in the certificate policy"
            }
        }
    }
}

impl IssuedFile {
    /// Returns the files in `data` of the certificates with this common name. Does not access
    /// the disk.
    pub(crate) fn in_data(data: &Path, section: &IssuedSection, name: &str) -> IssuedFile {
        let (path, previous) = (data.join(FILE_NAME), data.join(PREVIOUS_NAME));
        IssuedFile { path, previous, section: section.clone(), name: name.to_owned() }
    }

    /// Returns the place of the certificate and its key.
    pub(crate) fn section(&self) -> IdentitySection {
        let key = match &self.section.key {
            Some(uri) => KeySource::Token(uri.clone()),
            None => KeySource::File(self.path.clone()),
        };
        IdentitySection { certificate_file: self.path.clone(), key }
    }

    /// Returns `true` if a certificate has been issued. Blocks.
    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Checks that the key in a token can be used, if there is one. Blocks.
    pub(crate) fn check_key(&self) -> Result<(), IssuedError> {
        match &self.section.key {
            Some(uri) => RequestKey::in_token(uri).map(drop),
            None => Ok(()),
        }
    }

    /// Creates a request, with a new key unless the settings keep the earlier one. Blocks.
    pub(crate) fn request(&self) -> Result<SigningRequest, IssuedError> {
        let key = match &self.section.key {
            Some(uri) => RequestKey::in_token(uri)?,
            None if self.section.rotate_key => RequestKey::generate()?,
            None => match fs::read(&self.path) {
                Ok(pem) => RequestKey::in_pem(&pem).map_or_else(RequestKey::generate, Ok)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => RequestKey::generate()?,
                Err(source) => return Err(self.unusable(source)),
            },
        };
        Ok(SigningRequest { csr: key.request(&self.name)?, key })
    }

    /// Checks the chain that was issued for a request, and persists it with the key. The pair
    /// in use becomes the earlier one. Returns the facts about the certificate. Blocks.
    pub(crate) fn store(
        &self,
        request: &SigningRequest,
        chain: &[Vec<u8>],
        now: Timestamp,
    ) -> Result<Certificate, IssuedError> {
        let leaf = CertificateDer::from(chain.first().map(Vec::as_slice).unwrap_or_default());
        let facts = Certificate::parse(&leaf)?;
        if facts.key_bits != request.key.public_key() {
            return Err(IssuedError::OtherKey);
        }
        let found = facts.common_name.as_deref().unwrap_or_default();
        if !found.eq_ignore_ascii_case(&self.name) {
            let (found, expected) = (json::readable(found).into_owned(), self.name.clone());
            return Err(IssuedError::OtherName { found, expected });
        }
        if facts.valid_until_unix <= now.as_second() {
            let at = Timestamp::from_second(facts.valid_until_unix).unwrap_or(Timestamp::MAX);
            return Err(IssuedError::Expired(at));
        }
        let mut text: String = chain.iter().map(|der| to_pem("CERTIFICATE", der)).collect();
        text += request.key.to_pem().as_deref().unwrap_or_default();
        if let Ok(current) = fs::read(&self.path) {
            let kept = atomic_file::replace(&self.previous, &current);
            kept.map_err(|source| self.unusable(source))?;
        }
        let written = atomic_file::replace(&self.path, text.as_bytes());
        written.map_err(|source| self.unusable(source))?;
        Ok(facts)
    }

    /// Drops the earlier pair, since the hub has accepted the newer one. Blocks.
    pub(crate) fn accepted(&self) -> io::Result<()> {
        match fs::remove_file(&self.previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns to the earlier pair, since the hub has refused the newer one. Returns `false` if
    /// there is none. Blocks.
    pub(crate) fn roll_back(&self) -> io::Result<bool> {
        match fs::rename(&self.previous, &self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn unusable(&self, source: io::Error) -> IssuedError {
        IssuedError::File { path: self.path.clone(), source }
    }
}

impl fmt::Debug for SigningRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningRequest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
