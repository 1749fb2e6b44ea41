//! A device that the Device Provisioning Service assigns to a hub: its settings, their errors,
//! and its identity, without a network.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use protocol::provisioning::enrollment::{Attestation, Enrollment};
use tempfile::TempDir;

use crate::rig::{KEY, Running, directory, plugin, program};

const CERTIFICATE: &str = include_str!("../../src/connection/certificate/tests/rsa.pem");
const CERTIFICATE_KEY: &str = include_str!("../../src/connection/certificate/tests/rsa-key.pem");

/// The key that is derived from [`KEY`] for the registration `pump-7`.
const DERIVED: &str = "MuO/ud1le0VcbDk1NToeGYp/cTtAHmmkaeb1uTTpH9E=";

const SETTINGS: &str = "[provisioning]\nid_scope = \"0ne00112233\"\nregistration_id = \"pump-7\"\n";

/// Creates a directory with a configuration and the files of keys and a certificate.
fn device(settings: &str) -> TempDir {
    let folder = directory(&format!("{settings}{}", plugin("reply.wasm")));
    for (name, text) in [
        ("key", KEY),
        ("short", "c2hvcnQ="),
        ("text", "not a key"),
        ("device.pem", CERTIFICATE),
        ("device-key.pem", CERTIFICATE_KEY),
        ("signed.pem", include_str!("../../src/connection/certificate/tests/v1.pem")),
        ("signed-key.pem", include_str!("../../src/connection/certificate/tests/v1-key.pem")),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    folder
}

fn output(folder: &Path, arguments: &[&str], change: impl Fn(&mut Command)) -> Output {
    let mut program = program(folder, arguments, None);
    change(&mut program);
    program.output().unwrap()
}

/// Checks that no command finds an error in these settings, and that none of them prints a key.
/// Returns the text of `identity show`.
fn shown(settings: &str, change: impl Fn(&mut Command)) -> String {
    let folder = device(settings);
    let mut shown = String::new();
    for arguments in [
        &["check"][..],
        &["check", "--json"],
        &["check", "--without-identity"],
        &["identity", "show", "--json"],
        &["identity", "show"],
    ] {
        let output = output(folder.path(), arguments, &change);
        shown = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        let lines = CERTIFICATE_KEY.lines().filter(|line| !line.starts_with('-'));
        for secret in [KEY, DERIVED].into_iter().chain(lines) {
            assert!(!shown.contains(secret) && !errors.contains(secret), "{arguments:?}");
        }
    }
    shown
}

/// Checks the error and the hint of these settings, without the name of the directory.
fn refused(settings: &str, change: impl Fn(&mut Command), error: &str, hint: &str) {
    let folder = device(settings);
    for arguments in [&["check"][..], &["identity", "show"], &["run", "--log", "off"]] {
        let output = output(folder.path(), arguments, &change);
        let text = String::from_utf8(output.stderr).unwrap();
        let directory = format!("{}/", folder.path().display());
        let text = text.replace(&directory, "");
        let expected = format!("error: {error}\nhint: {hint}");
        assert!(text.starts_with(&expected), "{arguments:?}\n{text}\nexpected\n{expected}");
        assert_eq!(text.lines().count(), 2, "{arguments:?}\n{text}");
        assert!(!output.status.success());
    }
}

fn unchanged(_: &mut Command) {}

#[test]
fn the_registration_is_shown_without_its_key() {
    let file = format!("{SETTINGS}symmetric_key_file = \"key\"\n");
    let text = shown(&file, unchanged);
    assert_eq!(
        text,
        "registration: pump-7\nid scope: 0ne00112233\n\
         provisioning service: global.azure-devices-provisioning.net\nsign-in: key\nkey: key\n"
    );
    let group = shown(SETTINGS, |program| {
        program.env("IOTHUB_PROVISIONING_GROUP_KEY", KEY);
    });
    assert!(group.ends_with("sign-in: key\nkey: IOTHUB_PROVISIONING_GROUP_KEY\n"), "{group}");
}

#[test]
fn a_certificate_names_the_registration() {
    let settings = "[provisioning]\nid_scope = \"0ne00112233\"\n\
                    certificate_file = \"device.pem\"\nkey_file = \"device-key.pem\"\n";
    let text = shown(settings, unchanged);
    assert!(text.starts_with("registration: device-1\n"), "{text}");
    assert!(text.contains("\nsign-in: certificate\ncommon name: device-1\n"), "{text}");
}

#[test]
fn every_wrong_setting_is_one_line_with_a_way_out() {
    let with = |line: &str| format!("{SETTINGS}{line}\n");
    let copy = "copy the primary or secondary key of the enrollment, whole\n";
    refused(
        SETTINGS,
        unchanged,
        "[provisioning]: the key or the certificate of the device is missing",
        "set IOTHUB_PROVISIONING_KEY, IOTHUB_PROVISIONING_GROUP_KEY, `symmetric_key_file` or",
    );
    refused(
        "[provisioning]\nid_scope = \"0ne00112233\"\ngroup_key_file = \"key\"\n",
        unchanged,
        "[provisioning]: `registration_id` is missing, which a symmetric key needs",
        "set it to the registration id of the enrollment",
    );
    refused(
        &with("symmetric_key_file = \"missing\""),
        unchanged,
        "key file missing: No such file or directory (os error 2)",
        "name a file with the key in base64",
    );
    refused(&with("symmetric_key_file = \"text\""), unchanged, "text: key is not base64", copy);
    refused(
        &with("group_key_file = \"short\""),
        unchanged,
        "short: key has 5 bytes; the Device Provisioning Service accepts 16 to 64",
        copy,
    );
    refused(
        &with("symmetric_key_file = \"key\"\ngroup_key_file = \"key\""),
        unchanged,
        "host.toml: [provisioning]: more than one of `symmetric_key_file`, `group_key_file` and \
         `certificate_file`",
        "keep one: ",
    );
    refused(
        &with("certificate_file = \"device.pem\""),
        unchanged,
        "host.toml: [provisioning]: `certificate_file` needs `key_file` or `key_uri`",
        "`behaviour-host example` prints",
    );
    refused(
        &with("certificate_file = \"signed.pem\"\nkey_file = \"signed-key.pem\""),
        unchanged,
        "certificate file signed.pem: the common name is `device-1`, not the registration id \
         `pump-7`",
        "issue a certificate whose common name is exactly this id, or correct the id: ",
    );
    refused(
        &SETTINGS.replace("0ne00112233", "0ne/x"),
        unchanged,
        "host.toml: [provisioning]: id scope `0ne/x` has a '/', which is not allowed",
        "the overview of the Device Provisioning Service shows the ID scope",
    );
    refused(
        &SETTINGS.replace("pump-7", "pump_"),
        unchanged,
        "host.toml: [provisioning]: registration id `pump_` has a '_', which is not allowed",
        "the overview of the Device Provisioning Service shows the ID scope",
    );
    refused(
        &format!("hub.connection_string_file = \"key\"\n{SETTINGS}"),
        unchanged,
        "host.toml: `connection_string_file` and [provisioning] are both present; a device has \
         one identity",
        "remove one of them: ",
    );
    refused(
        &with("symmetric_key_file = \"key\""),
        |program| {
            program.env("IOTHUB_DEVICE_CONNECTION_STRING", crate::rig::identity());
        },
        "IOTHUB_DEVICE_CONNECTION_STRING is set beside [provisioning]",
        "unset it, or remove [provisioning]",
    );
    refused(
        SETTINGS,
        |program| {
            program.env("IOTHUB_PROVISIONING_KEY", KEY).env("IOTHUB_PROVISIONING_GROUP_KEY", KEY);
        },
        "IOTHUB_PROVISIONING_KEY and IOTHUB_PROVISIONING_GROUP_KEY are both set",
        "unset one: ",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_detailed_log_of_a_registration_and_its_arguments_have_no_key() {
    let (hub, _folder, toml) = crate::rig::hub().await;
    let keys = Attestation::symmetric_key(Some(KEY.to_owned()), None);
    let id = Some("fleet".to_owned());
    let group = Enrollment { enrollment_group_id: id, attestation: keys, ..Enrollment::default() };
    hub.provisioning().create_group(group).unwrap();
    let settings = format!(
        "[provisioning]\nendpoint = \"localhost:{}\"\nid_scope = \"{}\"\nregistration_id = \"pump-7\"\n",
        hub.mqtt_port(),
        hub.provisioning().id_scope(),
    );
    let mut host = Running::start_with(&(settings + &toml), "", |program| {
        program.env_remove("IOTHUB_DEVICE_CONNECTION_STRING");
        program.env("IOTHUB_PROVISIONING_GROUP_KEY", KEY).env("BEHAVIOUR_LOG", "trace");
    });
    let mut texts = vec![host.lines_until("connected").join("\n")];
    assert!(texts[0].contains("assigned by the provisioning service"), "{}", texts[0]);
    texts.push(fs::read_to_string(format!("/proc/{}/cmdline", host.child.id())).unwrap());
    for arguments in [&["identity", "show"][..], &["identity", "provision", "--json"]] {
        let output = output(host.directory.path(), arguments, |program| {
            program.env("IOTHUB_PROVISIONING_GROUP_KEY", KEY);
        });
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        texts.push(String::from_utf8(output.stdout).unwrap() + &errors);
    }
    assert!(texts[2].starts_with("device: pump-7\nhub: localhost"), "{}", texts[2]);
    assert!(texts[3].contains("\"device\": \"pump-7\""), "{}", texts[3]);
    let stored = host.directory.path().join("data/behaviour-host/pump-7/assignment.json");
    texts.push(fs::read_to_string(stored).unwrap());
    for text in &texts {
        assert!(!text.contains(KEY) && !text.contains(DERIVED), "{text}");
        assert!(!text.contains("SharedAccessSignature"), "{text}");
    }
}
