//! The hub's development certificate authority and server certificate.
//!
//! The authority is created once and persisted, so that clients have to trust it only
//! once. The server certificate is created at each start. Anyone with access to the
//! authority's key can sign certificates for any name, so the folder must be protected.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::certificates::AnyCertificate;

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";

/// Lifetime of the authority in years.
const AUTHORITY_YEARS: i16 = 10;

/// Lifetime of the server certificate in days. This is the limit for public authorities,
/// which some clients enforce for all certificates.
const CERTIFICATE_DAYS: i64 = 397;

/// Error of the certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// File of the authority that cannot be read or written.
    #[error("cannot read or write the certificate authority's file `{}`", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Invalid key or name.
    #[error("cannot use the certificate authority in `{}`", folder.display())]
    Certificate {
        /// The folder; empty for an authority in memory.
        folder: PathBuf,
        /// The cause.
        #[source]
        source: rcgen::Error,
    },
    /// Server certificate that the TLS library rejects.
    #[error("cannot use the server certificate")]
    Tls(#[from] rustls::Error),
}

/// Certificate authority for development.
pub(crate) struct Authority {
    certificate_pem: String,
    key: KeyPair,
    folder: PathBuf,
}

impl Authority {
    /// Opens the authority in `folder`, or creates it if it does not exist. Without a
    /// folder, the authority exists in memory only.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Authority, CaError> {
        let Some(folder) = folder else { return Authority::create(PathBuf::new()) };
        let (certificate, key) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        if !certificate.exists() || !key.exists() {
            let created = Authority::create(folder.to_owned())?;
            fs::create_dir_all(folder).map_err(file(folder))?;
            write_secret(&key, &created.key.serialize_pem())?;
            fs::write(&certificate, &created.certificate_pem).map_err(file(&certificate))?;
            return Ok(created);
        }
        let certificate_pem = fs::read_to_string(&certificate).map_err(file(&certificate))?;
        let text = fs::read_to_string(&key).map_err(file(&key))?;
        let key = KeyPair::from_pem(&text).map_err(certificate_error(folder))?;
        Ok(Authority { certificate_pem, key, folder: folder.to_owned() })
    }

    fn create(folder: PathBuf) -> Result<Authority, CaError> {
        let key = KeyPair::generate().map_err(certificate_error(&folder))?;
        let signed = authority_params().self_signed(&key).map_err(certificate_error(&folder))?;
        Ok(Authority { certificate_pem: signed.pem(), key, folder })
    }

    /// Returns the authority's certificate in PEM format. Clients have to trust it.
    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Returns a TLS configuration for these host names and addresses. It requests a client
    /// certificate, but does not require one.
    pub(crate) fn server_config(&self, names: &[String]) -> Result<ServerConfig, CaError> {
        let failed = certificate_error(&self.folder);
        let key = KeyPair::generate().map_err(&failed)?;
        let issuer = Issuer::new(authority_params(), &self.key);
        let leaf = leaf_params(names).and_then(|p| p.signed_by(&key, &issuer)).map_err(&failed)?;
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let any_certificate = Arc::new(AnyCertificate::new(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(any_certificate)
            .with_single_cert(vec![leaf.der().clone()], secret)?;
        Ok(config)
    }
}

/// Returns the parameters of the authority. Only the dates differ between starts, so that new
/// signatures match the persisted certificate.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "behaviour-hub development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut params, jiff::Span::new().years(AUTHORITY_YEARS));
    params
}

fn leaf_params(names: &[String]) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "behaviour-hub");
    for name in names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        });
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_validity(&mut params, jiff::Span::new().days(CERTIFICATE_DAYS));
    Ok(params)
}

/// Sets the validity of a certificate: from yesterday, to allow for clock skew, until `span`
/// from today.
fn set_validity(params: &mut CertificateParams, span: jiff::Span) {
    let day = |date: jiff::civil::Date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        rcgen::date_time_ymd(date.year().into(), month, day)
    };
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    params.not_before = day(today.saturating_sub(jiff::Span::new().days(1)));
    params.not_after = day(today.saturating_add(span));
}

/// Writes a file that only its owner can read.
fn write_secret(path: &Path, text: &str) -> Result<(), CaError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut out = options.open(path).map_err(file(path))?;
    out.write_all(text.as_bytes()).map_err(file(path))
}

fn file(path: &Path) -> impl Fn(std::io::Error) -> CaError {
    let path = path.to_owned();
    move |source| CaError::File { path: path.clone(), source }
}

fn certificate_error(folder: &Path) -> impl Fn(rcgen::Error) -> CaError {
    let folder = folder.to_owned();
    move |source| CaError::Certificate { folder: folder.clone(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_authority_is_created_once_with_a_key_that_only_its_owner_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open(Some(folder.path())).unwrap();
        let second = Authority::open(Some(folder.path())).unwrap();
        assert_eq!(first.certificate_pem(), second.certificate_pem());
        second.server_config(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        let mode = folder.path().join(KEY_FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_corrupt_key_is_an_error_that_names_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(Some(folder.path())).unwrap();
        fs::write(folder.path().join(KEY_FILE), "nonsense").unwrap();
        let Err(error) = Authority::open(Some(folder.path())) else {
            panic!("the corrupt key was accepted")
        };
        let text = format!("cannot use the certificate authority in `{}`", folder.path().display());
        assert_eq!(error.to_string(), text);
    }
}
