//! What the program prints, and with which exit code it ends.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::process::{Command, Output};

use hub::{Hub, HubConfig};
use protocol::connection_string::{DeviceConnectionString, ServiceConnectionString};
use serde_json::{Value, json};
use tempfile::TempDir;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn program(identity: Option<&str>, ca_file: Option<&str>, arguments: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-service"));
    program.args(arguments).env_remove("IOTHUB_CONNECTION_STRING").env_remove("IOTHUB_CA_FILE");
    program.env_remove("IOTHUB_CONNECTION_STRING_FILE");
    if let Some(identity) = identity {
        program.env("IOTHUB_CONNECTION_STRING", identity);
    }
    if let Some(ca_file) = ca_file {
        program.env("IOTHUB_CA_FILE", ca_file);
    }
    program.output().unwrap()
}

/// A hub and what a service needs to reach it.
struct Rig {
    hub: Hub,
    folder: TempDir,
    identity: ServiceConnectionString,
}

impl Rig {
    async fn start() -> Rig {
        let hub = Hub::start(HubConfig::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), hub.ca_pem()).unwrap();
        let identity = hub.service_connection_string();
        Rig { hub, folder, identity }
    }

    /// Runs the program beside the hub, which has a thread of its own.
    fn run(&self, arguments: &[&str]) -> Output {
        self.run_as(&self.identity, arguments)
    }

    fn run_as(&self, identity: &ServiceConnectionString, arguments: &[&str]) -> Output {
        let ca_file = self.folder.path().join("ca.pem");
        program(Some(&identity.to_text_with_key()), ca_file.to_str(), arguments)
    }

    fn text(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let done = self.run(&[&["--json"], arguments].concat());
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }
}

/// Ends with this code, and says these two lines last.
#[track_caller]
fn check(done: &Output, code: i32, error: &str, hint: &str) {
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(code), "{said}");
    let lines: Vec<_> = said.lines().collect();
    let [.., first, second] = &lines[..] else { panic!("{said}") };
    assert!(first.starts_with(&format!("error: {error}")), "{said}");
    assert!(second.starts_with(&format!("hint: {hint}")), "{said}");
    assert!(!said.contains(KEY), "{said}");
}

#[test]
fn usage_is_code_2_and_help_is_code_0() {
    assert_eq!(program(None, None, &["rebot"]).status.code(), Some(2));
    assert_eq!(program(None, None, &["reboot", "a b"]).status.code(), Some(2));
    assert_eq!(program(None, None, &["--help"]).status.code(), Some(0));
}

#[test]
fn a_connection_string_that_is_missing_or_wrong_is_told_without_its_key() {
    let done = program(None, None, &["twin", "get", "d1"]);
    check(&done, 1, "there is no connection string of a hub", "set IOTHUB_CONNECTION_STRING, or");
    let wrong = format!("HostName=localhost;SharedAccessKey={KEY}");
    let done = program(Some(&wrong), None, &["twin", "get", "d1"]);
    let what = "IOTHUB_CONNECTION_STRING: connection string has no `SharedAccessKeyName`";
    check(&done, 1, what, "copy it whole");
}

#[test]
fn a_hub_that_is_not_there_is_code_8_after_announced_tries() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let identity =
        format!("HostName=localhost:{port};SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}");
    let done = program(Some(&identity), None, &["--retries", "1", "twin", "get", "d1"]);
    check(&done, 8, &format!("hub `localhost:{port}`: "), "check HostName");
    assert!(String::from_utf8_lossy(&done.stderr).contains("; try 2 in "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_registered_listed_read_and_removed_without_its_keys() {
    let rig = Rig::start().await;

    let created = rig.json(&["devices", "create", "d1"]);
    assert_eq!(created["deviceId"], "d1");
    assert_eq!(created["authentication"].get("symmetricKey"), None);
    assert_eq!(rig.json(&["devices", "list"])["deviceId"], "d1");
    let secret = rig.run(&["devices", "connection-string", "d1"]).stdout;
    let secret = String::from_utf8(secret).unwrap();
    let device = rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let secret: DeviceConnectionString = secret.trim().parse().unwrap();
    assert_eq!((secret.host.port(), &secret.credential), (None, &device.credential));
    assert_eq!(rig.run(&["devices", "delete", "d1"]).status.code(), Some(0));

    let done = rig.run(&["devices", "get", "d1"]);
    check(&done, 4, "device `d1`: DeviceNotFound (404001)", "check the device's id");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_devices_are_created_once_and_print_what_they_connect_with() {
    let rig = Rig::start().await;
    let create = || rig.run(&["devices", "create", "--count", "12", "--prefix", "sim-"]);
    let first = create();
    assert_eq!(first.status.code(), Some(0), "{}", String::from_utf8_lossy(&first.stderr));

    let text = String::from_utf8(first.stdout.clone()).unwrap();
    let devices: Vec<DeviceConnectionString> =
        text.lines().map(|line| line.parse().unwrap()).collect();
    let ids: Vec<_> = devices.iter().map(|device| device.device.to_string()).collect();
    let expected: Vec<_> = (1..=12).map(|number| format!("sim-{number:04}")).collect();
    assert_eq!(ids, expected);
    assert_eq!(create().stdout, first.stdout);

    let neither = rig.run(&["devices", "create"]);
    assert_eq!(neither.status.code(), Some(2));
    let nameless = rig.run(&["devices", "create", "--count", "2"]);
    assert_eq!(nameless.status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_device_is_code_4_and_an_offline_one_code_3() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();

    let done = rig.run(&["invoke", "nobody", "greet"]);
    check(&done, 4, "device `nobody`: DeviceNotFound (404001)", "check the device's id");
    let done = rig.run(&["invoke", "d1", "greet"]);
    check(&done, 3, "device `d1`: DeviceNotOnline (404103): Timed out", "start the device");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_code_6_and_a_hub_that_is_not_trusted_code_8() {
    let rig = Rig::start().await;
    let wrong = ServiceConnectionString { key: KEY.parse().unwrap(), ..rig.identity.clone() };

    let done = rig.run_as(&wrong, &["twin", "get", "d1"]);
    check(&done, 6, "device `d1`: IotHubUnauthorizedAccess (401002)", "check SharedAccessKeyName");
    let done = program(Some(&rig.identity.to_text_with_key()), None, &["twin", "get", "d1"]);
    check(&done, 8, "hub `localhost:", "set --ca-file or IOTHUB_CA_FILE");
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_are_changed_and_queried() {
    let rig = Rig::start().await;
    for device in ["d1", "d2", "d3"] {
        rig.hub.create_device(&device.parse().unwrap()).unwrap();
    }

    let patch = r#"{"tags":{"floor":1},"properties":{"desired":{"interval":5}}}"#;
    let twin = rig.json(&["twin", "patch", "d1", patch]);
    assert_eq!(twin["properties"]["desired"]["interval"], 5);
    let stale = rig.run(&["twin", "patch", "d1", "{}", "--etag", "stale"]);
    assert_eq!(stale.status.code(), Some(1));
    let query = "SELECT deviceId FROM devices WHERE tags.floor = 1";
    assert_eq!(rig.json(&["query", query]), json!({"deviceId": "d1"}));
    let all = rig.run(&["query", "SELECT deviceId FROM devices", "--page-size", "1"]).stdout;
    assert_eq!(String::from_utf8(all).unwrap().lines().count(), 3);
    let twin = rig.json(&["twin", "replace", "d1", r#"{"tags":{"new":true}}"#]);
    assert_eq!(twin["tags"], json!({"new": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argument_that_is_not_json_is_told_how_to_quote() {
    let rig = Rig::start().await;
    let done = rig.run(&["invoke", "d1", "greet", "--payload", "world"]);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.starts_with("error: --payload is not JSON (a text needs quotes"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_json_a_person_reads_the_parts_of_a_twin_and_one_line_a_device() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    rig.json(&["twin", "patch", "d1", r#"{"properties":{"desired":{"interval":5}}}"#]);

    let twin = rig.text(&["twin", "get", "d1"]);
    assert!(twin.starts_with("d1: disconnected, version "), "{twin}");
    assert!(twin.contains("desired (version 2): {\n  \"interval\": 5\n}\n"), "{twin}");
    assert!(!twin.contains("$metadata"), "{twin}");
    let devices = rig.text(&["devices", "list"]);
    let words: Vec<_> = devices.split_whitespace().collect();
    assert_eq!(words, ["d1", "enabled", "disconnected", "sas"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_string_may_come_from_a_file() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let (file, ca_file) = (rig.folder.path().join("identity"), rig.folder.path().join("ca.pem"));
    std::fs::write(&file, format!("{}\n", rig.identity.to_text_with_key())).unwrap();
    let arguments = ["--connection-string-file", file.to_str().unwrap(), "devices", "get", "d1"];
    assert_eq!(program(None, ca_file.to_str(), &arguments).status.code(), Some(0));

    std::fs::remove_file(&file).unwrap();
    let done = program(None, ca_file.to_str(), &arguments);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(said.starts_with("error: connection string file "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_for_programs_are_json_with_their_exit_code() {
    let rig = Rig::start().await;
    let done = rig.run(&["--json", "invoke", "nobody", "greet"]);
    let error: Value = serde_json::from_slice(&done.stderr).unwrap();
    assert_eq!((done.status.code(), &error["exitCode"]), (Some(4), &json!(4)));
    assert!(error["error"].as_str().unwrap().starts_with("device `nobody`: DeviceNotFound"));
    assert!(error["hint"].as_str().unwrap().starts_with("check the device's id"));
}
