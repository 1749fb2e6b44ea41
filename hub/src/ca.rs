//! The hub's development certificate authority, its server certificate, and the certificates
//! that it issues to devices.
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
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::certificates::AnyCertificate;
use crate::faults::ChainDefect;
use crate::stamps::now_unix;

const CERTIFICATE_FILE: &str = "ca.pem";
const KEY_FILE: &str = "ca-key.pem";

/// Lifetime of the authority in years.
const AUTHORITY_YEARS: i16 = 10;

/// Lifetime of the server certificate in days. This is the limit for public authorities,
/// which some clients enforce for all certificates.
const CERTIFICATE_DAYS: i64 = 397;

/// Reason why no certificate is issued. The message is for the device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum IssueError {
    #[error("csr is not a PKCS #10 request in base64")]
    Malformed,
    #[error("csr has a signature that does not fit its key")]
    Signature,
    #[error("csr has an algorithm or an extension that this hub does not support")]
    Unsupported,
    #[error("csr has another common name than `{0}`")]
    Name(String),
    #[error("the certificate cannot be signed")]
    NotSigned,
}

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

    /// Issues a certificate for the key of a signing request, PKCS #10 in DER, whose common name
    /// must be `name`. Only key and name of the request are used. A fault can ask for a defect.
    /// Returns the certificate and that of the authority.
    pub(crate) fn issue(
        &self,
        request: &[u8],
        name: &str,
        lifetime: Duration,
        defect: Option<ChainDefect>,
    ) -> Result<[CertificateDer<'static>; 2], IssueError> {
        if defect == Some(ChainDefect::Untrusted) {
            let stranger = Authority::create(PathBuf::new()).map_err(|_| IssueError::NotSigned)?;
            return stranger.issue(request, name, lifetime, None);
        }
        let request = CertificateSigningRequestParams::from_der(&request.into());
        let request = request.map_err(|error| match error {
            rcgen::Error::CouldNotParseCertificationRequest => IssueError::Malformed,
            rcgen::Error::InvalidCertificationRequestSignature => IssueError::Signature,
            _ => IssueError::Unsupported,
        })?;
        let requested = match request.params.distinguished_name.get(&DnType::CommonName) {
            Some(DnValue::Utf8String(text)) => Some(text.as_str()),
            Some(DnValue::PrintableString(text)) => Some(text.as_str()),
            _ => None,
        };
        if requested != Some(name) {
            return Err(IssueError::Name(name.to_owned()));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(now_unix());
        let from = if defect == Some(ChainDefect::Expired) { now - 2 * lifetime } else { now };
        (params.not_before, params.not_after) = (from, from + lifetime);
        let request = CertificateSigningRequestParams { params, ..request };
        let issuer = Issuer::new(authority_params(), &self.key);
        let issued = request.signed_by(&issuer).map_err(|_| IssueError::NotSigned)?;
        Ok([issued.der().clone(), self.certificate().ok_or(IssueError::NotSigned)?])
    }

    /// Returns the authority's certificate; `None` if its file does not contain one.
    pub(crate) fn certificate(&self) -> Option<CertificateDer<'static>> {
        CertificateDer::from_pem_slice(self.certificate_pem.as_bytes()).ok()
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
    fn a_certificate_is_issued_for_the_key_and_the_name_of_a_request() {
        let authority = Authority::open(None).unwrap();
        let request = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            // Whatever the request says, the certificate is not that of an authority.
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
            params.serialize_request(&key).unwrap().der().to_vec()
        };
        let minute = Duration::from_secs(60);
        let [issued, root] = authority.issue(&request("d1"), "d1", minute, None).unwrap();
        let facts = trust::Certificate::parse(&issued).unwrap();
        assert_eq!(facts.common_name.as_deref(), Some("d1"));
        assert_eq!(facts.valid_until_unix - facts.valid_from_unix, 60);
        assert!(!facts.is_authority);
        assert_eq!(Some(root), authority.certificate());

        let issue = |request: &[u8]| authority.issue(request, "d1", minute, None).unwrap_err();
        assert_eq!(issue(&request("D1")), IssueError::Name("d1".to_owned()));
        assert_eq!(issue(b"no request"), IssueError::Malformed);
        let mut forged = request("d1");
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(issue(&forged), IssueError::Signature);
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
