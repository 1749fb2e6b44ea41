//! The commands for the Device Provisioning Service.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use protocol::sas::{Key, sign};
use serde_json::{Value, json};

use crate::{KEY, Rig, check};

/// Runs the program with the connection string of the Device Provisioning Service.
fn provisioning(rig: &Rig, arguments: &[&str], input: &str) -> Output {
    let identity = rig.hub.provisioning().connection_string().to_text_with_key();
    run(rig, &identity, arguments, input)
}

fn run(rig: &Rig, identity: &str, arguments: &[&str], input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-service"))
        .args(arguments)
        .env_remove("PROVISIONING_CONNECTION_STRING_FILE")
        .env("PROVISIONING_CONNECTION_STRING", identity)
        .env("IOTHUB_CA_FILE", rig.folder.path().join("ca.pem"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    program.wait_with_output().unwrap()
}

fn text(rig: &Rig, arguments: &[&str], input: &str) -> String {
    let done = provisioning(rig, arguments, input);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

fn json(rig: &Rig, arguments: &[&str]) -> Value {
    let text = text(rig, &[&["--json"], arguments].concat(), "");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrollment_is_created_shown_changed_and_deleted() {
    let rig = Rig::start().await;
    let twin = r#"{"tags": {"floor": 2}}"#;
    let arguments = ["enrollments", "create", "sn-1", "--device-id", "pump-1", "--twin", twin];
    let created = json(&rig, &arguments);
    assert_eq!(created["initialTwin"]["tags"]["floor"], 2);
    assert_eq!(created["attestation"], json!({ "type": "symmetricKey" }), "no key is shown");
    let key = text(&rig, &["enrollments", "key", "sn-1"], "");
    let arguments = ["enrollments", "update", "SN-1", "--disable", "--reprovision", "reset"];
    let updated = json(&rig, &arguments);
    assert_eq!(updated["provisioningStatus"], "disabled");
    assert_eq!(updated["reprovisionPolicy"]["migrateDeviceData"], false);
    assert_eq!(updated["deviceId"], "pump-1");
    assert_eq!(text(&rig, &["enrollments", "key", "sn-1"], ""), key, "a change keeps the key");
    let listed = text(&rig, &["enrollments", "list"], "");
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["sn-1", "disabled", "symmetricKey"]);
    text(&rig, &["enrollments", "delete", "sn-1"], "");
    assert_eq!(text(&rig, &["enrollments", "list"], ""), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_has_keys_for_its_devices_or_an_authority() {
    let rig = Rig::start().await;
    text(&rig, &["groups", "create", "fleet"], "");
    let key = text(&rig, &["groups", "key", "fleet"], "");
    let group: Key = key.trim().parse().unwrap();
    let expected = group.derive(&"sn-1".parse().unwrap()).to_base64();
    let derived = text(&rig, &["groups", "derive-key", "sn-1"], &key);
    assert_eq!(derived, format!("{expected}\n"));
    let file = rig.folder.path().join("group.txt");
    fs::write(&file, &key).unwrap();
    let arguments = ["groups", "derive-key", "sn-1", "sn-2", "--key-file", file.to_str().unwrap()];
    assert!(text(&rig, &arguments, "").starts_with(&format!("sn-1 {expected}\nsn-2 ")));

    let ca = rig.folder.path().join("ca.pem");
    let arguments = ["groups", "create", "factory", "--x509-certificate", ca.to_str().unwrap()];
    let group = json(&rig, &arguments);
    let certificate = &group["attestation"]["x509"]["signingCertificates"]["primary"];
    assert_eq!(certificate["info"]["subjectName"], "CN=behaviour-hub development authority");
    assert_eq!(text(&rig, &["groups", "list"], "").lines().count(), 2);
    assert_eq!(text(&rig, &["groups", "registrations", "fleet"], ""), "");
    let none = provisioning(&rig, &["groups", "key", "factory"], "");
    let hint = "hint: its devices sign in with certificates\n";
    check(&none, 1, &format!("error: `factory` has no key\n{hint}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrollment_admits_the_next_certificate_beside_the_current_one() {
    let rig = Rig::start().await;
    let folder = rig.folder.path().join("certificates");
    let make = |id: &str| {
        rig.json(&["devices", "create", id, "--x509", folder.to_str().unwrap()]);
        folder.join(format!("{id}.pem")).to_str().unwrap().to_owned()
    };
    let (old, new) = (make("old"), make("new"));
    json(&rig, &["enrollments", "create", "sn-1", "--x509-certificate", &old]);
    let both = ["--x509-certificate", &old, "--x509-secondary", &new];
    let updated = json(&rig, &[&["enrollments", "update", "sn-1"][..], &both].concat());
    let certificates = &updated["attestation"]["x509"]["clientCertificates"];
    assert_eq!(certificates["primary"]["info"]["subjectName"], "CN=old");
    assert_eq!(certificates["secondary"]["info"]["subjectName"], "CN=new");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrollment_and_a_group_have_a_policy_for_certificates() {
    let rig = Rig::start().await;
    for entry in ["enrollments", "groups"] {
        let created = json(&rig, &[entry, "create", "sn-1", "--credential-policy", "monthly"]);
        assert_eq!(created["credentialPolicyName"], "monthly");
        let updated = json(&rig, &[entry, "update", "sn-1", "--credential-policy", "weekly"]);
        assert_eq!(updated["credentialPolicyName"], "weekly");
        let updated = json(&rig, &[entry, "update", "sn-1", "--disable"]);
        assert_eq!(updated["credentialPolicyName"], "weekly", "a change keeps the policy");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_is_shown_and_deleted() {
    let rig = Rig::start().await;
    text(&rig, &["enrollments", "create", "sn-1"], "");
    register(&rig, "sn-1", text(&rig, &["enrollments", "key", "sn-1"], "").trim()).await;
    let registration = json(&rig, &["registrations", "show", "sn-1"]);
    assert_eq!(
        (&registration["status"], &registration["deviceId"]),
        (&json!("assigned"), &json!("sn-1"))
    );
    let line = text(&rig, &["registrations", "show", "sn-1"], "");
    assert!(line.starts_with("sn-1 ") && line.contains(" assigned "), "{line}");
    text(&rig, &["registrations", "delete", "sn-1"], "");
    for command in ["show", "delete"] {
        check(
            &provisioning(&rig, &["registrations", command, "sn-1"], ""),
            4,
            "error: registration `sn-1`: Registration not found (404202)\n\
             hint: the device has not registered since; `groups registrations GROUP` prints the \
             registrations of a group\n",
        );
    }
    let device = rig.json(&["devices", "get", "sn-1"]);
    assert_eq!(device["status"], "enabled", "the device stays at the hub");
}

/// Registers a device over HTTPS.
async fn register(rig: &Rig, id: &str, key: &str) {
    let scope = rig.hub.provisioning().id_scope();
    let key: Key = key.parse().unwrap();
    let token = sign(&format!("{scope}/registrations/{id}"), Some("registration"), &key, u64::MAX);
    let mut trust = trust::Trust::empty();
    trust.add_pem(rig.hub.ca_pem()).unwrap();
    let tls = trust.into_client_config().unwrap();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap();
    let url = format!(
        "https://localhost:{}/{scope}/registrations/{id}/register?api-version=2019-03-31",
        rig.hub.https_port()
    );
    let request = client.put(url).header("Authorization", token.to_string()).body("{}");
    assert_eq!(request.send().await.unwrap().status(), 202);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_enrollments_and_groups_are_completed() {
    let rig = Rig::start().await;
    text(&rig, &["enrollments", "create", "sn-1"], "");
    text(&rig, &["groups", "create", "fleet"], "");
    let identity = rig.hub.provisioning().connection_string().to_text_with_key();
    let complete = |words: &[&str]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-service"));
        program.args(["--", "behaviour-service"]).args(words).arg("").env("COMPLETE", "fish");
        program.env_remove("PROVISIONING_CONNECTION_STRING_FILE");
        program.env("PROVISIONING_CONNECTION_STRING", &identity);
        let done = program.env("IOTHUB_CA_FILE", rig.folder.path().join("ca.pem")).output();
        String::from_utf8(done.unwrap().stdout).unwrap()
    };
    for command in [["enrollments", "show"], ["enrollments", "delete"], ["registrations", "show"]] {
        assert!(complete(&command).lines().any(|line| line == "sn-1"), "{command:?}");
    }
    for command in [["groups", "key"], ["groups", "update"], ["groups", "registrations"]] {
        assert!(complete(&command).lines().any(|line| line == "fleet"), "{command:?}");
    }
    assert!(!complete(&["groups", "create"]).contains("fleet"), "a new group has a new id");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_names_the_enrollment_and_the_way_out() {
    let rig = Rig::start().await;
    let missing = provisioning(&rig, &["enrollments", "show", "sn-1"], "");
    check(
        &missing,
        4,
        "error: enrollment `sn-1`: Enrollment not found (404201)\n\
         hint: check the id; the command `list` prints all of them\n",
    );
    text(&rig, &["groups", "create", "fleet"], "");
    let again = provisioning(&rig, &["groups", "create", "fleet"], "");
    check(
        &again,
        1,
        "error: group `fleet`: Conflict (409000)\n\
         hint: it exists already; the command `update` changes it\n",
    );
    let hub = rig.identity.to_text_with_key();
    let of_hub = run(&rig, &hub, &["groups", "list"], "");
    check(
        &of_hub,
        6,
        "error: enrollmentGroups: Unauthorized (401000)\n\
         hint: check SharedAccessKeyName and SharedAccessKey in PROVISIONING_CONNECTION_STRING \
         and this machine's clock; the connection string of a hub is not enough\n",
    );
    let unknown = ["groups", "create", "factory", "--ca-reference", "root"];
    let message = "error: group `factory`: caReferences: this hub trusts no authority `root` \
                   (400000)\n";
    check(&provisioning(&rig, &unknown, ""), 1, message);
    let nothing = provisioning(&rig, &["groups", "update", "fleet"], "");
    check(&nothing, 2, "error: no change is given\nhint: --help lists the options\n");
    let no_key = provisioning(&rig, &["groups", "derive-key", "sn-1"], "no key");
    check(
        &no_key,
        2,
        "error: standard input: key is not base64\n\
         hint: the key is one line of base64; `behaviour-service groups key ID` prints it\n",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_string_only_keys_can_be_derived() {
    let program = |arguments: &[&str], input: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-service"))
            .args(arguments)
            .env_remove("PROVISIONING_CONNECTION_STRING")
            .env_remove("PROVISIONING_CONNECTION_STRING_FILE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        program.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        program.wait_with_output().unwrap()
    };
    let derived = program(&["groups", "derive-key", "sn-1"], KEY);
    assert_eq!(derived.status.code(), Some(0));
    let missing = program(&["groups", "list"], "");
    check(
        &missing,
        1,
        "error: connection string of the Device Provisioning Service is missing\n\
         hint: set PROVISIONING_CONNECTION_STRING, or --provisioning-file, to the connection \
         string of a shared access policy; behaviour-hub and the Azure portal show it\n",
    );
}
