//! Issued certificates: keys and signing requests on the command line, keys in tokens, and no
//! secret in any output.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use protocol::provisioning::enrollment::{Attestation, Enrollment};
use rcgen::{CertificateSigningRequestParams, DnType, DnValue};
use rustls::pki_types::CertificateSigningRequestDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::rig::{KEY, Running, directory, plugin, program};
use crate::tokens::softhsm::{PIN, Token};

const DEVICE: &str = "HostName=localhost;DeviceId=device-1;x509=true";

fn output(folder: &Path, arguments: &[&str], change: impl Fn(&mut Command)) -> Output {
    let mut program = program(folder, arguments, None);
    change(&mut program);
    program.output().unwrap()
}

/// Returns the output of a command that succeeds.
fn text(folder: &Path, arguments: &[&str], change: impl Fn(&mut Command)) -> String {
    let output = output(folder, arguments, change);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap() + &errors
}

/// Returns the common name of a signing request, whose signature is checked.
fn common_name(pem: &str) -> String {
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap();
    let request = CertificateSigningRequestParams::from_der(&der).unwrap();
    match request.params.distinguished_name.get(&DnType::CommonName) {
        Some(DnValue::Utf8String(name)) => name.clone(),
        other => panic!("{other:?}"),
    }
}

/// Creates a group whose enrollment issues certificates, and returns the settings of a device.
fn issuing(hub: &hub::Hub, key_uri: &str) -> String {
    let group = Enrollment {
        enrollment_group_id: Some("fleet".to_owned()),
        attestation: Attestation::symmetric_key(Some(KEY.to_owned()), None),
        credential_policy_name: Some("default".to_owned()),
        ..Enrollment::default()
    };
    hub.provisioning().create_group(group).unwrap();
    format!(
        "[provisioning]\nendpoint = \"localhost:{}\"\nid_scope = \"{}\"\n\
         registration_id = \"pump-7\"\n[provisioning.issued_certificate]\n{key_uri}\n",
        hub.mqtt_port(),
        hub.provisioning().id_scope(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn no_output_shows_the_key_of_an_issued_certificate() {
    let (hub, _folder, toml) = crate::rig::hub().await;
    let settings = issuing(&hub, "") + &toml;
    let with_key = |program: &mut Command| {
        program.env_remove("IOTHUB_DEVICE_CONNECTION_STRING");
        program.env("IOTHUB_PROVISIONING_GROUP_KEY", KEY);
    };
    let mut host = Running::start_with(&settings, "", |program| {
        with_key(program);
        program.env("BEHAVIOUR_LOG", "trace");
    });
    let folder = host.directory.path().to_owned();
    let mut texts = vec![host.lines_until("connected").join("\n")];
    assert!(texts[0].contains("device certificate issued"), "{}", texts[0]);
    texts.push(fs::read_to_string(format!("/proc/{}/cmdline", host.child.id())).unwrap());
    let file = folder.join("data/behaviour-host/pump-7/device-certificate.pem");
    let mut secrets = vec![fs::read_to_string(&file).unwrap()];
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["status"],
        &["status", "--json"],
        &["identity", "show"],
        &["identity", "show", "--json"],
        &["identity", "renew", "--json", "--log", "trace"],
    ] {
        texts.push(text(&folder, arguments, with_key));
    }
    secrets.push(fs::read_to_string(&file).unwrap());
    assert_ne!(secrets[0], secrets[1], "`renew` has another certificate");
    let shown: Value = serde_json::from_str(&texts[7]).unwrap();
    assert_eq!(shown["signIn"], "certificate");
    assert_eq!(shown["registersWith"], "IOTHUB_PROVISIONING_GROUP_KEY");
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for pem in &secrets {
        let key = pem.split("-----BEGIN PRIVATE KEY-----").nth(1).unwrap();
        for line in key.lines().filter(|line| line.len() > 8 && !line.starts_with('-')) {
            assert!(texts.iter().all(|text| !text.contains(line)), "a key is shown");
        }
    }
    assert!(texts.iter().all(|text| !text.contains(KEY)), "the key of the group is shown");
}

#[test]
fn a_key_is_created_once_and_its_request_names_the_device() {
    let settings = "[hub.identity]\ncertificate_file = \"device.pem\"\nkey_file = \"device.key\"\n";
    let folder = directory(&format!("{settings}{}", plugin("reply.wasm")));
    let identity = |program: &mut Command| {
        program.env("IOTHUB_DEVICE_CONNECTION_STRING", DEVICE);
    };
    let created = text(folder.path(), &["identity", "create-key"], identity);
    assert!(created.starts_with("key: ") && created.ends_with("device.key\n"), "{created}");
    let key = folder.path().join("device.key");
    assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let before = fs::read_to_string(&key).unwrap();

    let again = output(folder.path(), &["identity", "create-key"], identity);
    let error = String::from_utf8(again.stderr).unwrap();
    assert!(!again.status.success());
    assert!(error.contains("device.key: File exists"), "{error}");
    assert!(error.contains("\nhint: use the existing key"), "{error}");
    assert_eq!(fs::read_to_string(&key).unwrap(), before);

    let request = text(folder.path(), &["identity", "csr"], identity);
    assert_eq!(common_name(&request), "device-1");
    let json = text(folder.path(), &["identity", "csr", "--name", "other", "--json"], identity);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(common_name(json["csr"].as_str().unwrap()), "other");
    for line in before.lines().filter(|line| !line.starts_with('-')) {
        assert!(!request.contains(line) && !created.contains(line));
    }
}

#[test]
fn a_request_before_the_first_certificate_needs_a_name() {
    let provisioning = "[provisioning]\nid_scope = \"0ne00112233\"\n\
        certificate_file = \"device.pem\"\nkey_file = \"device.key\"\n";
    let folder = directory(&(provisioning.to_owned() + &plugin("reply.wasm")));
    let identity = |program: &mut Command| {
        program.env_remove("IOTHUB_DEVICE_CONNECTION_STRING");
    };
    text(folder.path(), &["identity", "create-key"], identity);
    let refused = output(folder.path(), &["identity", "csr"], identity);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success());
    assert!(error.starts_with("error: no name for the certificate: "), "{error}");
    assert!(error.ends_with("\nhint: set `registration_id` under [provisioning], or add --name\n"));
    let request = text(folder.path(), &["identity", "csr", "--name", "pump-7"], identity);
    assert_eq!(common_name(&request), "pump-7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_issued_for_a_key_that_a_token_has_created() {
    let Some(token) = Token::new() else { return };
    let settings = token.settings("made", "");
    let uri = settings.lines().find(|line| line.starts_with("key_uri")).unwrap().to_owned();
    let (hub, _folder, toml) = crate::rig::hub().await;
    let settings = issuing(&hub, &uri) + &toml;
    let environment = |program: &mut Command| {
        program.env_remove("IOTHUB_DEVICE_CONNECTION_STRING");
        program.env("IOTHUB_PROVISIONING_GROUP_KEY", KEY);
        program.env("SOFTHSM2_CONF", token.configuration());
    };
    let folder = directory(&settings);
    let missing = output(folder.path(), &["check"], environment);
    let error = String::from_utf8(missing.stderr).unwrap();
    assert!(error.contains("no key that matches `pkcs11:token=device;object=made`"), "{error}");
    let created = text(folder.path(), &["identity", "create-key"], environment);
    assert_eq!(created, "key: pkcs11:token=device;object=made\n");
    assert!(!output(folder.path(), &["identity", "create-key"], environment).status.success());
    assert_eq!(common_name(&text(folder.path(), &["identity", "csr"], environment)), "pump-7");

    let mut host = Running::start_with(&settings, "", |program| {
        environment(program);
        program.env("BEHAVIOUR_LOG", "trace");
    });
    let log = host.lines_until("connected").join("\n");
    assert!(log.contains("device certificate issued"), "{log}");
    assert!(!log.contains(PIN) && !log.contains("pin-source"), "{log}");
    let file = host.directory.path().join("data/behaviour-host/pump-7/device-certificate.pem");
    assert!(!fs::read_to_string(file).unwrap().contains("PRIVATE KEY"));
}
