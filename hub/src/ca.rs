//! The hub's development certificate authority and the certificate it serves.
//!
//! The authority is made once and kept, so that a client has to trust it once;
//! the server's own certificate is made anew at each start. Its key can sign
//! for any name: it is as safe as the folder it is in.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";

/// Years that the authority is good for.
const AUTHORITY_YEARS: i16 = 10;

/// What public authorities allow at most; some clients refuse more.
const CERTIFICATE_DAYS: i64 = 397;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file of the authority.
    #[error("certificate authority's file `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// A key or name that cannot be used.
    #[error("certificate authority in `{}`", folder.display())]
    Certificate {
        /// Where it is kept, or empty.
        folder: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rcgen::Error,
    },
    /// TLS does not take the certificate.
    #[error("the hub's own certificate")]
    Tls(#[from] rustls::Error),
}

/// A certificate authority for development.
pub(crate) struct Authority {
    certificate_pem: String,
    key: KeyPair,
    folder: PathBuf,
}

impl Authority {
    /// The authority kept in `folder`, made there if there is none; without a
    /// folder, one that is forgotten with the process.
    pub(crate) fn open(folder: Option<&Path>) -> Result<Authority, CaError> {
        let Some(folder) = folder else { return Authority::make(PathBuf::new()) };
        let (certificate, key) = (folder.join(CERTIFICATE_FILE), folder.join(KEY_FILE));
        if !certificate.exists() || !key.exists() {
            let made = Authority::make(folder.to_owned())?;
            fs::create_dir_all(folder).map_err(file(folder))?;
            write_secret(&key, &made.key.serialize_pem())?;
            fs::write(&certificate, &made.certificate_pem).map_err(file(&certificate))?;
            return Ok(made);
        }
        let certificate_pem = fs::read_to_string(&certificate).map_err(file(&certificate))?;
        let text = fs::read_to_string(&key).map_err(file(&key))?;
        let key = KeyPair::from_pem(&text).map_err(certificate_error(folder))?;
        Ok(Authority { certificate_pem, key, folder: folder.to_owned() })
    }

    fn make(folder: PathBuf) -> Result<Authority, CaError> {
        let key = KeyPair::generate().map_err(certificate_error(&folder))?;
        let signed = authority_params().self_signed(&key).map_err(certificate_error(&folder))?;
        Ok(Authority { certificate_pem: signed.pem(), key, folder })
    }

    /// What a client has to trust.
    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// TLS for a server by these names and addresses. Certificates of devices
    /// are not asked for: the hub signs devices in by token.
    pub(crate) fn server_config(&self, names: &[String]) -> Result<ServerConfig, CaError> {
        let wrong = certificate_error(&self.folder);
        let key = KeyPair::generate().map_err(&wrong)?;
        let issuer = Issuer::new(authority_params(), &self.key);
        let leaf = leaf_params(names).and_then(|p| p.signed_by(&key, &issuer)).map_err(&wrong)?;
        let secret = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], secret)?;
        Ok(config)
    }
}

/// The same at each start but for its dates, so that what it signs fits the
/// certificate that was kept.
fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "behaviour-hub development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    last(&mut params, jiff::Span::new().years(AUTHORITY_YEARS));
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
    last(&mut params, jiff::Span::new().days(CERTIFICATE_DAYS));
    Ok(params)
}

/// Makes a certificate good from yesterday, as clocks differ, for `span`.
fn last(params: &mut CertificateParams, span: jiff::Span) {
    let day = |date: jiff::civil::Date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        rcgen::date_time_ymd(date.year().into(), month, day)
    };
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    params.not_before = day(today.saturating_sub(jiff::Span::new().days(1)));
    params.not_after = day(today.saturating_add(span));
}

/// Writes a file that only its owner may read.
fn write_secret(path: &Path, text: &str) -> Result<(), CaError> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
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
    use super::*;

    #[test]
    fn an_authority_is_made_once_and_its_key_is_the_owner_s() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open(Some(folder.path())).unwrap();
        let second = Authority::open(Some(folder.path())).unwrap();
        assert_eq!(first.certificate_pem(), second.certificate_pem());
        second.server_config(&["localhost".into(), "127.0.0.1".into()]).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = folder.path().join(KEY_FILE).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_damaged_key_is_an_error_that_names_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        Authority::open(Some(folder.path())).unwrap();
        fs::write(folder.path().join(KEY_FILE), "nonsense").unwrap();
        let Err(error) = Authority::open(Some(folder.path())) else { panic!("it was taken") };
        assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    }
}
