//! Self-signed certificates of devices.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use behaviour_service::DeviceId;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// Lifetime of a certificate in days.
const DAYS: i64 = 365;

/// Maximum length of a common name (RFC 5280, appendix A.1).
const MAX_NAME_CHARS: usize = 64;

/// A new certificate in two files.
pub(super) struct SelfSigned {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    thumbprint: String,
}

impl SelfSigned {
    /// Creates a P-256 key and its certificate for a device. Does not replace existing files.
    /// Only their owner can read the key.
    pub(super) fn create(folder: &Path, device: &DeviceId) -> anyhow::Result<SelfSigned> {
        let name = device.as_str();
        ensure!(
            name.len() <= MAX_NAME_CHARS,
            "device id `{name}` has {} characters; a certificate allows {MAX_NAME_CHARS}",
            name.len()
        );
        let key = KeyPair::generate().context("cannot create a key")?;
        let signed = params(name).self_signed(&key).context("cannot create a certificate")?;
        let made = SelfSigned {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}-key.pem")),
            thumbprint: trust::sha256_thumbprint(signed.der()),
        };
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        write(&made.key, 0o600, &key.serialize_pem())?;
        if let Err(error) = write(&made.certificate, 0o644, &signed.pem()) {
            fs::remove_file(&made.key).ok();
            return Err(error);
        }
        Ok(made)
    }

    /// Returns the SHA-256 thumbprint of the certificate.
    pub(super) fn thumbprint(&self) -> String {
        self.thumbprint.clone()
    }

    /// Removes both files.
    pub(super) fn remove(&self) {
        for file in [&self.certificate, &self.key] {
            // The error that led here matters more.
            fs::remove_file(file).ok();
        }
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let day = |date: jiff::civil::Date| {
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        date_time_ymd(date.year().into(), month, day)
    };
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    // From yesterday, to allow for clock skew.
    params.not_before = day(today.saturating_sub(jiff::Span::new().days(1)));
    params.not_after = day(today.saturating_add(jiff::Span::new().days(DAYS)));
    params
}

/// Writes a new file.
fn write(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .with_context(|| path.display().to_string())?;
    file.write_all(text.as_bytes()).with_context(|| path.display().to_string())
}
