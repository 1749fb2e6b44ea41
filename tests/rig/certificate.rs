//! Certificates for the device of a rig.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use protocol::registry::{Authentication, CERTIFICATE_AUTHORITY, SELF_SIGNED, Thumbprints};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};

/// The issuer of a device's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignedBy {
    /// The device itself. The thumbprint is registered.
    Itself,
    /// An intermediate authority, whose root authority the hub trusts.
    Authority,
}

/// The certificate of a device in files, below one directory.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate, followed by that of the intermediate authority.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// The root authority.
    pub root: PathBuf,
}

impl CertificateFiles {
    /// Returns the files in a directory, which are not written.
    #[must_use]
    pub fn in_directory(directory: &Path) -> CertificateFiles {
        CertificateFiles {
            certificate: directory.join("device.pem"),
            key: directory.join("device-key.pem"),
            root: directory.join("devices-ca.pem"),
        }
    }

    /// Writes a new certificate that is valid until the start of `year`. Returns its
    /// registration.
    pub fn write(&self, device: &str, by: SignedBy, year: i32) -> Authentication {
        let (key, device) = (KeyPair::generate().unwrap(), params(device, year, false));
        let (text, registration) = match by {
            SignedBy::Itself => {
                let signed = device.self_signed(&key).unwrap();
                let thumbprint = thumbprint(&signed.pem());
                let thumbprints =
                    Thumbprints { primary_thumbprint: Some(thumbprint), ..Default::default() };
                (signed.pem(), registration(SELF_SIGNED, Some(thumbprints)))
            }
            SignedBy::Authority => {
                let root = params("root", 2100, true);
                let root_key = KeyPair::generate().unwrap();
                let root_pem = root.self_signed(&root_key).unwrap().pem();
                let between = params("intermediate", 2100, true);
                let between_key = KeyPair::generate().unwrap();
                let root = Issuer::from_params(&root, &root_key);
                let between_pem = between.signed_by(&between_key, &root).unwrap().pem();
                let issuer = Issuer::from_params(&between, &between_key);
                let leaf = device.signed_by(&key, &issuer).unwrap().pem();
                fs::write(&self.root, root_pem).unwrap();
                (leaf + &between_pem, registration(CERTIFICATE_AUTHORITY, None))
            }
        };
        fs::write(&self.key, key.serialize_pem()).unwrap();
        fs::set_permissions(&self.key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&self.certificate, text).unwrap();
        registration
    }
}

fn params(name: &str, year: i32, is_authority: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(year, 1, 1);
    if is_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

fn registration(kind: &str, thumbprints: Option<Thumbprints>) -> Authentication {
    Authentication { kind: kind.to_owned(), symmetric_key: None, thumbprints }
}

fn thumbprint(pem: &str) -> String {
    trust::first_thumbprint(pem.as_bytes()).unwrap()
}
