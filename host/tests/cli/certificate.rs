//! A device that signs in with a certificate.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::rig::{Running, directory, hub, plugin, program};

const CERTIFICATE: &str = include_str!("../../src/connection/certificate/tests/rsa.pem");
const KEY: &str = include_str!("../../src/connection/certificate/tests/rsa-key.pem");
const IDENTITY: &str = "HostName=localhost;DeviceId=device-1;x509=true";

/// Writes the certificate and the key. Returns their directory and the section that names them.
fn files() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (certificate, key) = (write("device.pem", CERTIFICATE), write("key.pem", KEY));
    let section =
        format!("[hub.identity]\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n");
    (folder, section)
}

fn output(folder: &Path, arguments: &[&str], identity: &str) -> Output {
    program(folder, arguments, Some(identity)).output().unwrap()
}

/// Checks that a text has no line of the key.
fn assert_no_key(text: &str) {
    let lines = KEY.lines().filter(|line| !line.starts_with('-'));
    for secret in lines {
        assert!(!text.contains(secret), "{text}");
    }
}

#[test]
fn the_identity_is_shown_without_the_key() {
    let (_files, section) = files();
    let folder = directory(&format!("{section}{}", plugin("reply.wasm")));
    for arguments in [
        &["identity", "show"][..],
        &["identity", "show", "--json"],
        &["check"],
        &["check", "--json"],
    ] {
        let output = output(folder.path(), arguments, IDENTITY);
        let text = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        assert_no_key(&text);
        assert_no_key(&errors);
        if arguments == ["identity", "show"] {
            assert!(text.starts_with("device: device-1\nhub: localhost\nsign-in: certificate\n"));
            assert!(text.contains("\nvalid until: 2126-"), "{text}");
            assert!(text.contains("/key.pem\n"), "{text}");
        }
    }
}

#[test]
fn a_connection_string_and_a_certificate_must_agree() {
    let (_files, section) = files();
    let with_key =
        format!("HostName=localhost;DeviceId=device-1;SharedAccessKey={}", crate::rig::KEY);
    for (toml, identity, expected) in [
        (
            plugin("reply.wasm"),
            IDENTITY,
            "error: the connection string says x509=true, but [hub.identity] names no certificate\n\
             hint: set `certificate_file` and `key_file` under [hub.identity], or use a connection \
             string with SharedAccessKey\n",
        ),
        (
            format!("{section}{}", plugin("reply.wasm")),
            with_key.as_str(),
            "error: [hub.identity] names a certificate, but the connection string has a key or a \
             token\nhint: put `x509=true` in place of the key in the connection string, or remove \
             [hub.identity]\n",
        ),
    ] {
        let folder = directory(&toml);
        for arguments in [&["check"][..], &["identity", "show"], &["run", "--log", "off"]] {
            let output = output(folder.path(), arguments, identity);
            assert_eq!(String::from_utf8(output.stderr).unwrap(), expected, "{arguments:?}");
            assert!(!output.status.success());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_detailed_log_of_a_refused_certificate_has_a_hint_and_no_key() {
    let (hub, _folder, toml) = hub().await;
    // The device has a key in the hub, so it cannot sign in with a certificate.
    hub.create_device(&"device-1".parse().unwrap()).unwrap();
    let (_files, section) = files();
    let mut host = Running::start_with(&format!("{section}{toml}"), IDENTITY, |program| {
        program.env("BEHAVIOUR_LOG", "trace");
    });

    let lines = host.lines_until("refused by the hub: a certificate");

    let last = lines.last().unwrap();
    assert!(last.contains("ERROR") && last.contains("behaviour-host identity show"), "{last}");
    assert_no_key(&lines.join("\n"));
}
