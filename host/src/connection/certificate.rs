//! The certificate with which the device signs in, instead of a SAS token.
//!
//! [`LiveCertificate`] reads the files of `[hub.identity]` and follows their changes.
//! [`DeviceCertificate`] is their content at one time. The key is used only to sign TLS
//! handshakes. Neither `Debug` nor an error shows it.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use program::FileStamp;
use rustls::client::ResolvesClientCert;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use trust::{Certificate, sha256_thumbprint};

use crate::config::{IdentitySection, KeySource};
use crate::pkcs11::TokenKey;
pub use error::CertificateError;
pub(crate) use name::RequiredName;

mod error;
mod files;
mod name;
#[cfg(test)]
mod tests;

/// A device's certificate and its key.
#[derive(Clone)]
pub(crate) struct DeviceCertificate {
    /// The number of times that the files have been read before.
    pub(super) number: u64,
    pub(crate) facts: Certificate,
    /// The SHA-256 thumbprint.
    pub(crate) thumbprint: String,
    pub(super) resolver: Arc<dyn ResolvesClientCert>,
    /// The key, if it is in a token.
    token: Option<TokenKey>,
}

impl DeviceCertificate {
    /// Reads the files, and no token. `name` is the common name that the certificate must have;
    /// `None` skips its check. Blocks.
    pub(crate) fn read(
        section: &IdentitySection,
        name: Option<&RequiredName>,
    ) -> Result<DeviceCertificate, CertificateError> {
        let chain = files::read_chain(&section.certificate_file)?;
        let leaf = chain.first().expect("`read_chain` returns at least one certificate");
        let facts = files::check(&section.certificate_file, leaf, name)?;
        let (key, token): (Arc<dyn SigningKey>, _) = match &section.key {
            KeySource::File(path) => {
                let key = files::read_key(path)?;
                // rustls compares them as well, but cannot read certificates of version 1.
                if key.public_key().is_none_or(|public| public.as_ref() != facts.public_key) {
                    let certificate = section.certificate_file.clone();
                    return Err(CertificateError::OtherKey { certificate, key: path.clone() });
                }
                (key, None)
            }
            KeySource::Token(uri) => {
                let key = TokenKey::new(uri.as_ref().clone(), &facts)?;
                (Arc::new(key.clone()), Some(key))
            }
        };
        let thumbprint = sha256_thumbprint(leaf);
        let resolver = Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key)));
        Ok(DeviceCertificate { number: 0, facts, thumbprint, resolver, token })
    }

    /// Checks that a key in a token can sign, and belongs to the certificate. Blocks.
    pub(crate) fn check_token(&self) -> Result<(), CertificateError> {
        self.token.as_ref().map_or(Ok(()), TokenKey::check).map_err(CertificateError::from)
    }

    /// Checks that the certificate is valid at `now`.
    pub(crate) fn check_time(
        &self,
        section: &IdentitySection,
        now: Timestamp,
    ) -> Result<(), CertificateError> {
        let path: PathBuf = section.certificate_file.clone();
        if now > self.valid_until() {
            return Err(CertificateError::Expired { path, at: self.valid_until() });
        }
        if now < self.valid_from() {
            return Err(CertificateError::NotYetValid { path, at: self.valid_from() });
        }
        Ok(())
    }

    /// Returns the number of the certificate, from 0.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the start of the validity.
    pub(crate) fn valid_from(&self) -> Timestamp {
        timestamp(self.facts.valid_from_unix)
    }

    /// Returns the end of the validity.
    pub(crate) fn valid_until(&self) -> Timestamp {
        timestamp(self.facts.valid_until_unix)
    }
}

impl fmt::Debug for DeviceCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCertificate").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Converts a time of a certificate. X.509 ends with the year 9999, as does [`Timestamp`].
fn timestamp(unix_seconds: i64) -> Timestamp {
    Timestamp::from_second(unix_seconds).unwrap_or(Timestamp::MAX)
}

/// The certificate in the files of `[hub.identity]`, which can change.
pub(crate) struct LiveCertificate {
    section: IdentitySection,
    name: RequiredName,
    stamps: Mutex<[Option<FileStamp>; 2]>,
    current: watch::Sender<Arc<DeviceCertificate>>,
}

impl LiveCertificate {
    /// Reads the files, whose certificate must have this name. Blocks.
    pub(crate) fn open(
        section: IdentitySection,
        name: RequiredName,
    ) -> Result<LiveCertificate, CertificateError> {
        // Taken before the contents are read, so that the next refresh notices a concurrent change.
        let stamps = Mutex::new(stamps(&section));
        let certificate = DeviceCertificate::read(&section, Some(&name))?;
        let current = watch::Sender::new(Arc::new(certificate));
        Ok(LiveCertificate { section, name, stamps, current })
    }

    /// Returns the certificate for a new connection, after reading the files again if they have
    /// changed.
    pub(super) async fn fresh(self: &Arc<Self>) -> Arc<DeviceCertificate> {
        self.refresh().await;
        self.current()
    }

    /// Returns the current certificate.
    pub(crate) fn current(&self) -> Arc<DeviceCertificate> {
        Arc::clone(&self.current.borrow())
    }

    /// Checks that the current certificate is valid at `now`.
    pub(super) fn check_time(&self, now: Timestamp) -> Result<(), CertificateError> {
        self.current().check_time(&self.section, now)
    }

    /// Waits until the current certificate is newer than the one with this number.
    pub(crate) async fn newer_than(&self, number: u64) {
        let mut current = self.current.subscribe();
        // Cannot fail, because `self` holds the sender.
        current.wait_for(|current| current.number > number).await.ok();
    }

    /// Reads the files again if they have changed, and logs the outcome. If they cannot be
    /// used, the earlier certificate stays in force.
    pub(crate) async fn refresh(self: &Arc<Self>) {
        let live = Arc::clone(self);
        match spawn_blocking(move || live.read_again()).await {
            Ok(Ok(true)) => {
                let valid_until = self.current().valid_until();
                info!(%valid_until, "device certificate has changed and was read again");
            }
            Ok(Err(error)) => {
                let hint = error.hint();
                let error = program::chain(&error);
                warn!(
                    hint,
                    "device certificate not read again, the earlier one stays in force: {error}"
                );
            }
            // The files are unchanged, or reading them panicked. The panic hook has logged a
            // panic.
            Ok(Ok(false)) | Err(_) => {}
        }
    }

    /// Returns `true` if the files contain another certificate than before. Blocks.
    fn read_again(&self) -> Result<bool, CertificateError> {
        let stamps = stamps(&self.section);
        // Updated even if reading fails, so that the error is logged once.
        if std::mem::replace(&mut *self.stamps.lock(), stamps) == stamps {
            return Ok(false);
        }
        let read = DeviceCertificate::read(&self.section, Some(&self.name))?;
        let current = self.current();
        if read.thumbprint == current.thumbprint {
            return Ok(false);
        }
        let number = current.number + 1;
        self.current.send_replace(Arc::new(DeviceCertificate { number, ..read }));
        Ok(true)
    }
}

fn stamps(section: &IdentitySection) -> [Option<FileStamp>; 2] {
    [FileStamp::at(&section.certificate_file), section.key.secret_file().and_then(FileStamp::at)]
}
