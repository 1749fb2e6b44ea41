//! Whom the programs trust: the certificates behind every TLS connection.
//!
//! A [`Trust`] is the system's certificates and those that were added; it makes
//! the TLS configuration of a client. [`distrust`] finds in an error of TLS that
//! the other end is not trusted, and says why in words.
//!
//! Checks cannot be switched off. It opens no connection.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop at the first surprise"))]

use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::{CertificateError, ClientConfig, RootCertStore};

/// Certificates whose holders may vouch for a hub.
#[derive(Debug, Clone)]
pub struct Trust(RootCertStore);

/// Why there is nobody to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of certificates cannot be used.
    #[error("CA file {}: {problem}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A text of certificates cannot be used.
    #[error("CA certificates: {0}")]
    Pem(String),
    /// Neither the system nor the caller has a certificate to trust.
    #[error("there is no certificate to trust: the system has none, and no CA file is set")]
    Nobody,
}

impl Trust {
    /// Whom the system trusts. A system without certificates is no error to who
    /// brings their own.
    #[must_use]
    pub fn of_system() -> Trust {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Trust(roots)
    }

    /// Adds the certificates of a PEM file.
    pub fn add_file(&mut self, path: &Path) -> Result<(), TrustError> {
        let wrong = |problem| TrustError::File { path: path.to_owned(), problem };
        let pem = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        self.add(&pem).map_err(wrong)
    }

    /// Adds the certificates of a PEM text.
    pub fn add_pem(&mut self, pem: &str) -> Result<(), TrustError> {
        self.add(pem.as_bytes()).map_err(TrustError::Pem)
    }

    fn add(&mut self, pem: &[u8]) -> Result<(), String> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, PemError>>()
            .map_err(|_| "is not a PEM file of certificates".to_owned())?;
        if certificates.is_empty() {
            return Err("has no certificate in it".to_owned());
        }
        for certificate in certificates {
            self.0.add(certificate).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The configuration of a client that presents no certificate of its own.
    pub fn into_client_config(self) -> Result<ClientConfig, TrustError> {
        if self.0.is_empty() {
            return Err(TrustError::Nobody);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has suites for the default versions")
            .with_root_certificates(self.0)
            .with_no_client_auth())
    }
}

/// Why the other end of a TLS connection is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// Nobody who is trusted has signed its certificate.
    Issuer,
    /// Its certificate is for another name.
    Name,
    /// Its certificate has expired, or its time has not come.
    Time,
    /// Anything else about its certificate.
    Certificate,
}

impl Distrust {
    /// In words, after "the hub's certificate".
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Distrust::Issuer => "is signed by nobody that is trusted here",
            Distrust::Name => "is for another name",
            Distrust::Time => "has expired or is not valid yet, or this machine's clock is wrong",
            Distrust::Certificate => "cannot be used",
        }
    }
}

/// Finds the reason anywhere in an error and its causes.
#[must_use]
pub fn distrust(error: &(dyn Error + 'static)) -> Option<Distrust> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(why)) = tls_error(error) {
            return Some(match why {
                // A CA that was made anew has the old one's name, but not its key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Distrust::Issuer
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Distrust::Name,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Distrust::Time,
                _ => Distrust::Certificate,
            });
        }
        cause = error.source();
    }
    None
}

/// rustls' own errors travel inside those of the socket, one or more deep, which
/// hide them from the chain of causes.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => tls_error(io.get_ref()?),
        None => error.downcast_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_named_with_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let check = |expected: &str| {
            let error = Trust::of_system().add_file(&file).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("CA file {}: {expected}", file.display())),
                "{error}"
            );
        };
        check("No such file");
        fs::write(&file, "hello").unwrap();
        check("has no certificate in it");
        fs::write(&file, "-----BEGIN CERTIFICATE-----\nhello").unwrap();
        check("is not a PEM file of certificates");
    }

    #[test]
    fn a_certificate_of_ones_own_is_enough() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        let mut trust = Trust(RootCertStore::empty());
        assert!(matches!(trust.clone().into_client_config(), Err(TrustError::Nobody)));
        trust.add_pem(&pem).unwrap();
        trust.into_client_config().unwrap();
    }

    #[test]
    fn a_reason_is_found_however_deep_it_is_wrapped() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        let wrapped = io::Error::other(io::Error::other(tls));
        assert_eq!(distrust(&wrapped), Some(Distrust::Name));
        assert_eq!(distrust(&io::Error::other("else")), None);
    }
}
