//! Tests of certificate and key files, their errors and their changes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;

use super::*;

/// The files of a device in a temporary directory.
struct Files {
    directory: TempDir,
    section: IdentitySection,
}

impl Files {
    fn new(certificate: &str, key: &str) -> Files {
        let directory = tempfile::tempdir().unwrap();
        let section = IdentitySection {
            certificate_file: directory.path().join("device.pem"),
            key: KeySource::File(directory.path().join("key.pem")),
        };
        let files = Files { directory, section };
        files.replace(certificate, key);
        files
    }

    /// Writes both files atomically.
    fn replace(&self, certificate: &str, key: &str) {
        let key_file = self.section.key.secret_file().unwrap();
        for (file, text) in
            [(self.section.certificate_file.as_path(), certificate), (key_file, key)]
        {
            let new = file.with_extension("new");
            fs::write(&new, text).unwrap();
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
            fs::rename(new, file).unwrap();
        }
    }

    /// Returns the error of reading and checking the files for `device-1`, with its hint. The
    /// directory is left out.
    fn error(&self) -> (String, &'static str) {
        let read = DeviceCertificate::read(&self.section, Some(&name()));
        let checked = read.and_then(|it| it.check_time(&self.section, Timestamp::now()));
        let error = checked.unwrap_err();
        let directory = format!("{}/", self.directory.path().display());
        let text = program::chain(&error).to_string().replace(&directory, "");
        assert!(!text.contains('\n'), "{text}");
        (text, error.hint())
    }
}

fn name() -> RequiredName {
    RequiredName::Device("device-1".to_owned())
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params
}

/// Returns a certificate and its key. An authority signs it if `is_signed`.
fn pair(params: &CertificateParams, is_signed: bool) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let authority = params_of_authority();
    let authority_key = KeyPair::generate().unwrap();
    let signed = match is_signed {
        true => params.signed_by(&key, &Issuer::from_params(&authority, &authority_key)),
        false => params.self_signed(&key),
    };
    (signed.unwrap().pem(), key.serialize_pem())
}

fn params_of_authority() -> CertificateParams {
    let mut authority = params("authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
}

/// Returns the error of a certificate and its key.
fn error_of(params: &CertificateParams, is_signed: bool) -> String {
    let (certificate, key) = pair(params, is_signed);
    Files::new(&certificate, &key).error().0
}

#[test]
fn keys_of_all_formats_are_read_with_their_certificates() {
    let (p256, p256_key) = pair(&params("device-1"), true);
    for (certificate, key) in [
        (p256.as_str(), p256_key.as_str()),
        // A certificate of version 1, with a P-384 key in SEC 1.
        (include_str!("tests/v1.pem"), include_str!("tests/v1-key.pem")),
        // A self-signed certificate of OpenSSL, which says that it is an authority's, with an
        // RSA key in PKCS #1.
        (include_str!("tests/rsa.pem"), include_str!("tests/rsa-key.pem")),
    ] {
        let files = Files::new(certificate, key);
        let read = DeviceCertificate::read(&files.section, Some(&name())).unwrap();
        read.check_time(&files.section, Timestamp::now()).unwrap();
        assert_eq!(read.facts.common_name.as_deref(), Some("device-1"));
    }
}

#[test]
fn an_unusable_certificate_is_reported_in_one_line() {
    let mut expired = params("device-1");
    expired.not_after = date_time_ymd(2021, 1, 1);
    let mut early = params("device-1");
    early.not_before = date_time_ymd(2119, 1, 1);
    assert_eq!(
        error_of(&expired, true),
        "certificate file device.pem: the certificate expired at 2021-01-01T00:00:00Z"
    );
    assert_eq!(
        error_of(&early, true),
        "certificate file device.pem: the certificate is not valid before 2119-01-01T00:00:00Z"
    );
    assert_eq!(
        error_of(&params("device-2"), true),
        "certificate file device.pem: the common name is `device-2`, not the device id `device-1`"
    );
    assert_eq!(
        error_of(&params_of_authority(), false),
        "certificate file device.pem: the first certificate belongs to an authority, not to a \
         device"
    );
    let weak = Files::new(include_str!("tests/weak.pem"), include_str!("tests/rsa-key.pem"));
    assert_eq!(
        weak.error(),
        (
            "certificate file device.pem: RSA key of 1024 bits, at least 2048 are needed".into(),
            "issue a certificate for a P-256 key, or for an RSA key of 2048 bits"
        )
    );
    let none = "certificate file device.pem: no certificate in PEM format";
    assert_eq!(Files::new("hello", "").error().0, none);
    assert_eq!(Files::new("-----BEGIN CERTIFICATE-----\nAAAA", "").error().0, none);
}

#[test]
fn an_unusable_key_is_reported_without_its_content() {
    let (certificate, key) = pair(&params("device-1"), true);
    let (_, other_key) = pair(&params("device-1"), true);
    assert_eq!(
        Files::new(&certificate, &other_key).error().0,
        "key file key.pem does not belong to the certificate in device.pem"
    );
    let secret = "MHcCAQEEIBsecret";
    for text in ["", secret, &format!("-----BEGIN PRIVATE KEY-----\n{secret}")] {
        assert_eq!(
            Files::new(&certificate, text).error().0,
            "key file key.pem: no key that can be used, such as P-256, P-384, or RSA of 2048 bits"
        );
    }
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let error = Files::new(&certificate, encrypted).error().0;
    assert_eq!(error, "key file key.pem: the key is encrypted with a passphrase");
    let files = Files::new(&certificate, &key);
    fs::remove_file(files.section.key.secret_file().unwrap()).unwrap();
    assert_eq!(files.error().0, "key file key.pem: No such file or directory (os error 2)");
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let (certificate, key) = pair(&params("device-1"), true);
    let files = Files::new(&certificate, &key);
    for (mode, is_refused) in
        [(0o600, false), (0o400, false), (0o640, false), (0o644, true), (0o660, true)]
    {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(files.section.key.secret_file().unwrap(), permissions).unwrap();
        let read = DeviceCertificate::read(&files.section, None);
        assert_eq!(read.is_err(), is_refused, "{mode:o}");
    }
    let (error, hint) = {
        fs::set_permissions(
            files.section.key.secret_file().unwrap(),
            fs::Permissions::from_mode(0o644),
        )
        .unwrap();
        files.error()
    };
    assert_eq!(error, "key file key.pem: mode 644 allows others to read or change it");
    assert_eq!(hint, "run `chmod 600` on it, as the user of the host");
}

#[test]
fn changed_files_are_read_again_once_both_belong_together() {
    let (certificate, key) = pair(&params("device-1"), true);
    let files = Files::new(&certificate, &key);
    let live = LiveCertificate::open(files.section.clone(), name()).unwrap();
    let first = live.current();
    assert!(!live.read_again().unwrap());
    let (next, next_key) = pair(&params("device-1"), true);

    files.replace(&next, &key);
    assert!(matches!(live.read_again(), Err(CertificateError::OtherKey { .. })));
    assert!(!live.read_again().unwrap(), "an error is reported once");
    assert_eq!(live.current().thumbprint, first.thumbprint);

    files.replace(&next, &next_key);
    assert!(live.read_again().unwrap());
    assert_ne!(live.current().thumbprint, first.thumbprint);
    assert_eq!(live.current().number, 1);
}

#[test]
fn neither_debug_nor_an_error_shows_a_key() {
    let (certificate, key) = pair(&params("device-1"), true);
    let files = Files::new(&certificate, &key);
    let read = DeviceCertificate::read(&files.section, None).unwrap();
    let secret = key.lines().nth(1).unwrap();
    assert!(!format!("{read:?}").contains(secret));
    // The key file in place of the certificate file.
    let swapped = IdentitySection {
        certificate_file: files.section.key.secret_file().unwrap().to_owned(),
        key: KeySource::File("none".into()),
    };
    let error = DeviceCertificate::read(&swapped, None).unwrap_err();
    assert!(!format!("{error:?} {}", program::chain(&error)).contains(secret));
}
