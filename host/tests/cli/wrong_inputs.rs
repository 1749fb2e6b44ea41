//! Wrong identities, over `check` and over `run`. Each is one line with one hint, whether it is
//! found in the files, by the token, or by the hub and its provisioning service.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use hub::Hub;
use protocol::provisioning::enrollment::{Attestation, Enrollment, ProvisioningStatus};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use tempfile::TempDir;

use crate::rig::{KEY, Running, directory, hub, program};
use crate::tokens::softhsm::Token;
use crate::tokens::{pair, register};

const X509: &str = "HostName=localhost;DeviceId=device-1;x509=true";
const OTHER_KEY: &str = "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";
const RSA_KEY: &str = include_str!("../../src/connection/certificate/tests/rsa-key.pem");

/// The command that finds an error.
#[derive(Debug, Clone, Copy, PartialEq)]
enum FoundBy {
    /// `check`, and `run` before its first connection.
    Start,
    /// `check`, and the first connection of `run`.
    Connection,
    /// The first connection of `run`. Only a server knows it.
    Server,
}

use FoundBy::{Connection, Server, Start};

/// A row of the table: the settings, the party that finds the error, the message and the hint.
type Row = (String, FoundBy, &'static str, &'static str);

/// Directory with the certificates and keys of the table.
struct Files(TempDir);

impl Files {
    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Writes a certificate that is valid from the start of the year `from` to that of `until`,
    /// with its key. An authority signs it unless `is_authority`.
    fn pair(&self, name: &str, common_name: &str, years: (i32, i32), is_authority: bool) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        let (key, authority_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let signed = match is_authority {
            true => {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.self_signed(&key).unwrap()
            }
            false => {
                let mut authority = CertificateParams::default();
                authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.signed_by(&key, &Issuer::from_params(&authority, &authority_key)).unwrap()
            }
        };
        self.write(&format!("{name}.pem"), &signed.pem(), 0o600);
        self.write(&format!("{name}.key"), &key.serialize_pem(), 0o600);
        signed.pem()
    }

    /// Returns `[hub.identity]` with two of the files.
    fn identity(&self, certificate: &str, key: &str) -> String {
        let (certificate, key) = (self.0.path().join(certificate), self.0.path().join(key));
        format!("[hub.identity]\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n")
    }
}

/// Returns the lines that a command prints for an error: the message and the hint.
fn check(settings: &str, environment: &impl Fn(&mut Command)) -> (bool, String) {
    let folder = directory(settings);
    let mut program = program(folder.path(), &["check"], None);
    environment(&mut program);
    let output = program.output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

/// Checks that both commands find each error of the table where it is to be found.
fn assert_rows(rows: Vec<Row>, toml: &str, environment: impl Fn(&mut Command)) {
    for (settings, found_by, message, hint) in rows {
        let settings = settings + toml;
        let (succeeds, text) = check(&settings, &environment);
        assert_eq!(succeeds, found_by == Server, "{message}: {text}");
        if found_by != Server {
            assert!(text.starts_with("error: ") && text.contains(message), "{message}: {text}");
            assert!(text.contains("\nhint: ") && text.contains(hint), "{message}: {text}");
            assert_eq!(text.lines().count(), 2, "{message}: {text}");
        }
        let mut host = Running::start_with(&settings, "", |program| {
            program.env_remove("IOTHUB_DEVICE_CONNECTION_STRING");
            environment(program);
        });
        let mut lines = host.lines_until(message);
        // The log has the hint in the same line.
        let mut last = lines.pop().unwrap();
        if found_by == Start {
            last = host.lines_until("hint: ").join("\n");
            assert!(!last.contains('\n'), "{message}: {last}");
        }
        assert!(last.contains(hint), "{message}: {last}");
        let is_error = |line: &&String| line.contains("ERROR") || line.starts_with("error: ");
        assert!(lines.iter().filter(is_error).count() <= 1, "{message}: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_certificate_or_key_is_one_line_with_a_hint() {
    let (hub, _folder, toml) = hub().await;
    let files = Files(tempfile::tempdir().unwrap());
    files.pair("signed", "device-1", (2020, 2120), false);
    files.pair("other", "device-2", (2020, 2120), false);
    files.pair("authority", "root", (2020, 2120), true);
    let expired = files.pair("expired", "device-1", (2019, 2021), false);
    files.pair("early", "device-1", (2119, 2120), false);
    files.write("weak.pem", include_str!("../../src/connection/certificate/tests/weak.pem"), 0o600);
    files.write("rsa.key", RSA_KEY, 0o600);
    files.write("open.key", &fs::read_to_string(files.0.path().join("signed.key")).unwrap(), 0o644);
    files.write("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n", 0o600);
    let directory = files.0.path().join("directory.key");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    register(&hub, &expired).await;
    let row = |certificate: &str, key: &str, found_by, message, hint| -> Row {
        (files.identity(certificate, key), found_by, message, hint)
    };
    let rows = vec![
        row("expired.pem", "expired.key", Connection, "expired at 2021-01-01", "issue a new"),
        row(
            "early.pem",
            "early.key",
            Connection,
            "is not valid before 2119",
            "check this machine's",
        ),
        row(
            "other.pem",
            "other.key",
            Start,
            "the common name is `device-2`",
            "issue a certificate",
        ),
        row(
            "signed.pem",
            "other.key",
            Start,
            "does not belong to the certificate",
            "set `key_file`",
        ),
        row("authority.pem", "authority.key", Start, "belongs to an authority", "put the device's"),
        row(
            "weak.pem",
            "rsa.key",
            Start,
            "RSA key of 1024 bits",
            "issue a certificate for a P-256",
        ),
        row("signed.pem", "open.key", Start, "mode 644 allows others", "run `chmod 600`"),
        row("signed.pem", "locked.key", Start, "encrypted with a passphrase", "decrypt it"),
        row("signed.pem", "missing.key", Start, "missing.key: No such file", "set `key_file`"),
        row(
            "signed.pem",
            "directory.key",
            Start,
            "directory.key: Is a directory",
            "set `key_file`",
        ),
        row("directory.key", "signed.key", Start, "Is a directory", "set `certificate_file`"),
        row("signed.key", "signed.key", Start, "no certificate in PEM", "set `certificate_file`"),
        row("signed.pem", "signed.pem", Start, "no key that can be used", "the formats are"),
    ];
    assert_rows(rows, &toml, |program| {
        program.env("IOTHUB_DEVICE_CONNECTION_STRING", X509);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_cannot_be_used_is_one_line_with_a_hint() {
    let Some(token) = Token::new() else { return };
    let (_hub, _folder, toml) = hub().await;
    let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (_, other) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    token.import("right", &key);
    token.import("other", &other);
    let settings = |label: &str| token.settings(label, &certificate);
    let (pin, wrong_pin) = (token.pin_file(), token.file("wrong", "9999"));
    let rows = vec![
        (settings("missing"), Connection, "the token has no key", "correct `object` and `id`"),
        (settings("other"), Connection, "does not belong to the certificate", "name the key"),
        (
            settings("right").replace("token=device", "token=other"),
            Connection,
            "no token matches `pkcs11:token=other;object=right`",
            "insert the token",
        ),
        (
            settings("right").replace(&pin, &wrong_pin),
            Connection,
            "refuses the PIN, which is not sent again",
            "write the PIN",
        ),
        (
            settings("right").replace("libsofthsm2.so", "missing.so"),
            Connection,
            "PKCS #11 library",
            "set `module-path`",
        ),
    ];
    assert_rows(rows, &toml, |program| {
        program.env("IOTHUB_DEVICE_CONNECTION_STRING", X509);
        program.env("SOFTHSM2_CONF", token.configuration());
    });
}

/// Creates a group with [`KEY`], and the individual enrollments `own` and `off` with
/// [`OTHER_KEY`].
fn enroll(hub: &Hub) {
    let keys = |key: &str| Attestation::symmetric_key(Some(key.to_owned()), None);
    let group = Enrollment {
        enrollment_group_id: Some("fleet".to_owned()),
        attestation: keys(KEY),
        ..Enrollment::default()
    };
    hub.provisioning().create_group(group).unwrap();
    let individual = |id: &str, status| Enrollment {
        registration_id: Some(id.to_owned()),
        attestation: keys(OTHER_KEY),
        provisioning_status: Some(status),
        ..Enrollment::default()
    };
    for (id, status) in
        [("own", ProvisioningStatus::Enabled), ("off", ProvisioningStatus::Disabled)]
    {
        hub.provisioning().create_enrollment(individual(id, status)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_registration_is_one_line_with_a_hint() {
    let (hub, folder, toml) = hub().await;
    enroll(&hub);
    let files = Files(tempfile::tempdir().unwrap());
    files.pair("expired", "pump-3", (2019, 2021), false);
    files.pair("unknown", "pump-3", (2020, 2120), false);
    let key = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (of_group, of_device) = (key("group", KEY), key("device", OTHER_KEY));
    let with = |scope: &str, id: &str, setting: &str, key: &Path| {
        format!(
            "[provisioning]\nendpoint = \"localhost:{}\"\nid_scope = \"{scope}\"\n\
             registration_id = \"{id}\"\n{setting} = {key:?}\n",
            hub.mqtt_port()
        )
    };
    let scope = hub.provisioning().id_scope().to_string();
    let certificate = |name: &str| {
        let path = |end: &str| files.0.path().join(format!("{name}.{end}"));
        with(&scope, "pump-3", "certificate_file", &path("pem"))
            + &format!("key_file = {:?}\n", path("key"))
    };
    let rows = vec![
        (
            with("0ne99999999", "own", "symmetric_key_file", &of_device),
            Server,
            "registration `own` refused by the provisioning service: ",
            "also check `id_scope`",
        ),
        (
            with("0ne/9", "own", "symmetric_key_file", &of_device),
            Start,
            "id scope `0ne/9` has a '/'",
            "the overview of the Device Provisioning Service shows the ID scope",
        ),
        (
            with(&scope, "own", "symmetric_key_file", &of_group),
            Server,
            "registration `own` refused by the provisioning service: Unauthorized",
            "belongs into `group_key_file`",
        ),
        (
            with(&scope, "pump-7", "group_key_file", &of_device),
            Server,
            "registration `pump-7` refused by the provisioning service: ",
            "belongs into `symmetric_key_file`",
        ),
        (
            with(&scope, "off", "symmetric_key_file", &of_device),
            Server,
            "refused by the provisioning service: the enrollment is disabled",
            "enable the enrollment",
        ),
        (
            certificate("expired"),
            Connection,
            "expired.pem: the certificate expired at 2021-01-01T00:00:00Z",
            "issue a new certificate",
        ),
        (
            certificate("unknown"),
            Server,
            "registration `pump-3` refused by the provisioning service: sign-in refused",
            "the certificate must be that of the individual enrollment",
        ),
    ];
    assert_rows(rows, &toml, |_| {});
}
