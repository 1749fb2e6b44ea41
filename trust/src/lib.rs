//! Trusted certificates for the TLS connections of all programs.
//!
//! [`Trust`] collects certificates of the system and from files, and creates the TLS
//! configuration of a client. [`distrust`] extracts from an error the reason why the peer
//! is not trusted, and [`Distrust::text`] describes it.
//!
//! ```
//! use behaviour_trust::{Distrust, Trust, TrustError, distrust};
//!
//! let mut trust = Trust::of_system();
//! let error = trust.add_pem("no certificate").unwrap_err();
//! assert_eq!(error.to_string(), "CA certificates: no certificate found");
//!
// An error of a library that wraps one of rustls.
//! let reason = rustls::CertificateError::UnknownIssuer;
//! let error = std::io::Error::other(rustls::Error::InvalidCertificate(reason));
//! assert_eq!(distrust(&error), Some(Distrust::Issuer));
//! ```
//!
//! `cargo run -p behaviour-trust --example certificates` checks a file of certificates.
//!
//! [`Certificate`] contains the facts about a certificate that decide who may sign in with it.
//!
//! [`LiveTrust`] is a configuration for a long-running process, which follows changes of
//! the files.
//!
//! Certificate verification cannot be disabled, and this crate opens no connections.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a panic fails the test"))]

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use program::text;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::{CertificateError, ClientConfig, RootCertStore};

mod certificate;
mod live;

pub use certificate::{
    Certificate, CertificateSignature, KeyKind, MalformedCertificate, first_thumbprint,
    sha1_thumbprint, sha256_thumbprint,
};
pub use live::LiveTrust;

/// Certificates of the trusted authorities.
#[derive(Debug, Clone)]
pub struct Trust(RootCertStore);

/// Error for unusable or missing certificates.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Unusable file of certificates.
    #[error("CA file {}: {problem}", .path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        problem: String,
    },
    /// Unusable PEM text, with the reason.
    #[error("CA certificates: {0}")]
    Pem(String),
    /// No certificates from the system or the caller.
    #[error("no certificates to trust: the system has none, and no CA file is set")]
    NoCertificates,
}

impl Trust {
    /// Returns no certificates.
    #[must_use]
    pub fn empty() -> Trust {
        Trust(RootCertStore::empty())
    }

    /// Returns the certificates.
    #[must_use]
    pub fn into_roots(self) -> RootCertStore {
        self.0
    }

    /// Returns the certificates of the system. Finding none is not an error if the caller
    /// adds its own.
    #[must_use]
    pub fn of_system() -> Trust {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Trust(roots)
    }

    /// Adds the certificates of a PEM file.
    pub fn add_file(&mut self, path: &Path) -> Result<(), TrustError> {
        let wrong = |problem| TrustError::File { path: path.to_owned(), problem };
        let pem = text::read_bytes(path).map_err(|error| wrong(error.to_string()))?;
        self.add(&pem).map_err(wrong)
    }

    /// Adds the certificates of a PEM text.
    pub fn add_pem(&mut self, pem: &str) -> Result<(), TrustError> {
        self.add(pem.as_bytes()).map_err(TrustError::Pem)
    }

    fn add(&mut self, pem: &[u8]) -> Result<(), String> {
        let mut count = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            count += 1;
            let certificate = certificate.map_err(|error| malformed(count, &error))?;
            self.0.add(certificate).map_err(|error| format!("certificate {count}: {error}"))?;
        }
        match count {
            0 => Err("no certificate found".to_owned()),
            _ => Ok(()),
        }
    }

    /// Creates the TLS configuration of a client that presents no certificate.
    pub fn into_client_config(self) -> Result<ClientConfig, TrustError> {
        match self.0.is_empty() {
            true => Err(TrustError::NoCertificates),
            false => Ok(self.into_optional_client_config()),
        }
    }

    /// Creates the TLS configuration of a client that also uses plain HTTP. Without any
    /// certificate, the client trusts no server.
    #[must_use]
    pub fn into_optional_client_config(self) -> ClientConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has suites for the default versions")
            .with_root_certificates(self.0)
            .with_no_client_auth()
    }
}

/// Describes a PEM error. `number` counts the certificates in the text from 1.
fn malformed(number: usize, error: &PemError) -> String {
    let problem = match error {
        PemError::MissingSectionEnd { .. } => "has no END line",
        PemError::IllegalSectionStart { .. } => "has a malformed BEGIN line",
        PemError::Base64Decode(_) => "is not base64",
        _ => "is malformed",
    };
    format!("malformed PEM: certificate {number} {problem}")
}

/// Reason why the peer of a TLS connection is not trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Distrust {
    /// Certificate that no trusted authority signed.
    Issuer,
    /// Certificate for a different name.
    Name,
    /// Certificate that has expired or is not valid yet.
    Time,
    /// Certificate of an authority, which a server must not use.
    Authority,
    /// Certificate with another defect, which the text describes.
    Certificate(String),
}

impl Distrust {
    /// Returns a description that follows the subject "the hub's certificate".
    #[must_use]
    pub fn text(&self) -> Cow<'static, str> {
        let text = match self {
            Distrust::Issuer => "is not signed by a trusted authority",
            Distrust::Name => "is for a different name",
            Distrust::Time => "has expired or is not valid yet, or this machine's clock is wrong",
            Distrust::Authority => "belongs to an authority, which can sign but not serve",
            Distrust::Certificate(reason) => return format!("cannot be used: {reason}").into(),
        };
        text.into()
    }
}

/// Returns the reason for the distrust if the error or one of its causes contains it.
#[must_use]
pub fn distrust(error: &(dyn Error + 'static)) -> Option<Distrust> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(reason)) = tls_error(error) {
            return Some(match reason {
                // A regenerated authority has the same name, but another key.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Distrust::Issuer
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Distrust::Name,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Distrust::Time,
                // rustls has no variant for this error of webpki, so only its name identifies
                // it.
                CertificateError::Other(other) if other.to_string().contains(AUTHORITY) => {
                    Distrust::Authority
                }
                other => Distrust::Certificate(other.to_string()),
            });
        }
        cause = error.source();
    }
    None
}

/// Name of webpki's error for a server that uses an authority's certificate.
const AUTHORITY: &str = "CaUsedAsEndEntity";

/// Returns the rustls error inside `error`. It can be wrapped in I/O errors, which do not
/// return it as their source.
fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    match error.downcast_ref::<io::Error>() {
        Some(io) => tls_error(io.get_ref()?),
        None => error.downcast_ref(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ClientConnection, ServerConfig, ServerConnection};

    use super::*;

    #[test]
    fn an_unusable_file_is_named_with_the_reason() {
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
        check("no certificate found");
        fs::write(&file, "-----BEGIN CERTIFICATE-----\nhello").unwrap();
        check("malformed PEM: certificate 1 has no END line");
        fs::write(&file, "\u{feff}hello").unwrap();
        check("no certificate found");
        fs::write(&file, b"\xff\xfe-\0-\0").unwrap();
        check("UTF-16, not UTF-8; save it as UTF-8");
    }

    #[test]
    fn a_single_added_certificate_is_enough() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        let mut trust = Trust(RootCertStore::empty());
        assert!(matches!(trust.clone().into_client_config(), Err(TrustError::NoCertificates)));
        trust.add_pem(&pem).unwrap();
        trust.into_client_config().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, format!("\u{feff}{pem}")).unwrap();
        Trust(RootCertStore::empty()).add_file(&file).unwrap();
    }

    /// Performs a handshake with a server in memory, and returns the client's error.
    fn refusal(client: ClientConfig, server: ServerConfig) -> rustls::Error {
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server)).unwrap();
        for _ in 0..10 {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).unwrap();
            server.read_tls(&mut &wire[..]).unwrap();
            server.process_new_packets().unwrap();
            wire.clear();
            server.write_tls(&mut wire).unwrap();
            client.read_tls(&mut &wire[..]).unwrap();
            if let Err(error) = client.process_new_packets() {
                return error;
            }
        }
        panic!("the client accepts the server");
    }

    #[test]
    fn a_server_with_the_certificate_of_an_authority_is_reported() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = parameters.self_signed(&key).unwrap();
        let mut trust = Trust(RootCertStore::empty());
        trust.add_pem(&certificate.pem()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();

        let error = refusal(trust.into_client_config().unwrap(), server);
        assert_eq!(distrust(&error), Some(Distrust::Authority));
    }

    #[test]
    fn a_reason_is_found_at_any_depth() {
        let tls = rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        let wrapped = io::Error::other(io::Error::other(tls));
        assert_eq!(distrust(&wrapped), Some(Distrust::Name));
        assert_eq!(distrust(&io::Error::other("else")), None);
        let tls = rustls::Error::InvalidCertificate(CertificateError::Revoked);
        let reason = distrust(&io::Error::other(tls)).unwrap();
        assert_eq!(reason.text(), "cannot be used: Revoked");
    }
}
