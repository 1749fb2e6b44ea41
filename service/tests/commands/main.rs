//! Output and exit codes of the program.

#![allow(clippy::unwrap_used, reason = "a panic fails the test")]

mod certificates;
mod entra;
mod fleet;
mod listing;
mod messages;
mod policies;
mod provisioning;
mod watching;

use std::process::{Command, Output, Stdio};

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

/// A hub, and the credentials with which a service connects to it.
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

    /// Runs the program and blocks until it ends. The hub must run in another thread.
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

/// Compares the exit code and standard error, with `PORT` in place of the hub's port.
#[track_caller]
fn check(done: &Output, code: i32, stderr: &str) {
    let text = without_port(&String::from_utf8_lossy(&done.stderr));
    assert_eq!(text, stderr);
    assert_eq!(done.status.code(), Some(code), "{text}");
}

/// Replaces the number after each `localhost:` with `PORT`.
fn without_port(text: &str) -> String {
    let mut parts = text.split("localhost:");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{text}localhost:PORT{rest}")
    })
}

const UNKNOWN_DEVICE_HINT: &str =
    "hint: check the device's id; `behaviour-service devices create ID` registers one\n";

#[test]
fn a_usage_error_exits_with_2_and_help_with_0() {
    assert_eq!(program(None, None, &["rebot"]).status.code(), Some(2));
    assert_eq!(program(None, None, &["reboot", "a b"]).status.code(), Some(2));
    assert_eq!(program(None, None, &["--help"]).status.code(), Some(0));
}

#[test]
fn a_missing_or_malformed_connection_string_is_reported_without_its_key() {
    let done = program(None, None, &["twin", "get", "d1"]);
    let missing = "error: connection string of the hub is missing\n\
        hint: set IOTHUB_CONNECTION_STRING, or --connection-string-file, to the connection string \
        of a shared access policy; behaviour-hub and the Azure portal show it\n";
    check(&done, 1, missing);
    let wrong = format!("HostName=localhost;SharedAccessKey={KEY}");
    let done = program(Some(&wrong), None, &["twin", "get", "d1"]);
    let no_policy = "error: IOTHUB_CONNECTION_STRING: connection string has no \
        `SharedAccessKeyName`\n\
        hint: copy it whole: behaviour-hub and the Azure portal show it\n";
    check(&done, 1, no_policy);
    let device = format!("HostName=localhost;DeviceId=d1;SharedAccessKey={KEY}");
    let done = program(Some(&device), None, &["twin", "get", "d1"]);
    let of_device = "error: IOTHUB_CONNECTION_STRING: connection string belongs to a device, not \
        to a service\n\
        hint: this is a device's connection string; behaviour-hub and \"Shared access policies\" \
        in the Azure portal show the service's\n";
    check(&done, 1, of_device);
}

#[test]
fn an_unreachable_hub_exits_with_8_after_its_retries() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let identity =
        format!("HostName=localhost:{port};SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}");
    let done = program(Some(&identity), None, &["--retries", "1", "twin", "get", "d1"]);
    let text = without_port(&String::from_utf8_lossy(&done.stderr));
    let (retry, rest) = text.split_once('\n').unwrap();
    let (announced, wait) = retry.rsplit_once(" in ").unwrap();
    let failure = "hub `localhost:PORT`: Connection refused (os error 111)";
    assert_eq!(announced, format!("{failure}; retry 1"));
    assert!(wait.trim_end_matches(" s").parse::<f64>().unwrap() <= 0.5, "{wait}");
    assert_eq!(
        rest,
        format!(
            "error: {failure}\nhint: check HostName in IOTHUB_CONNECTION_STRING and the network; \
             behaviour-hub listens for services on port 8443 by default\n"
        )
    );
    assert_eq!(done.status.code(), Some(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_are_registered_listed_and_removed_without_printing_their_keys() {
    let rig = Rig::start().await;

    let created = rig.json(&["devices", "create", "d1"]);
    assert_eq!(created["deviceId"], "d1");
    assert_eq!(created["authentication"].get("symmetricKey"), None);
    assert_eq!(rig.json(&["devices", "list"])["deviceId"], "d1");
    let secret = rig.run(&["devices", "connection-string", "d1"]).stdout;
    let secret = String::from_utf8(secret).unwrap();
    let device = rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let secret: DeviceConnectionString = secret.trim().parse().unwrap();
    let port = Some(rig.hub.https_port());
    assert_eq!((secret.host.port(), &secret.credential), (port, &device.credential));
    assert_eq!(rig.run(&["devices", "delete", "d1"]).status.code(), Some(0));

    let done = rig.run(&["devices", "get", "d1"]);
    let unknown = "error: device `d1`: DeviceNotFound (404001): d1\n";
    check(&done, 4, &[unknown, UNKNOWN_DEVICE_HINT].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn creating_many_devices_prints_their_connection_strings_and_is_idempotent() {
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
async fn an_unknown_device_exits_with_4_and_an_offline_one_with_3() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();

    let done = rig.run(&["invoke", "nobody", "greet"]);
    let unknown = "error: device `nobody`: DeviceNotFound (404001): nobody\n";
    check(&done, 4, &[unknown, UNKNOWN_DEVICE_HINT].concat());
    let done = rig.run(&["invoke", "d1", "greet"]);
    let offline = "error: device `d1`: DeviceNotOnline (404103): Timed out waiting for device to \
        connect.\n\
        hint: start the device; --connect-timeout waits for one that is about to connect\n";
    check(&done, 3, offline);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_exits_with_6_and_an_untrusted_hub_with_8() {
    let rig = Rig::start().await;
    let wrong = ServiceConnectionString { key: KEY.parse().unwrap(), ..rig.identity.clone() };

    let done = rig.run_as(&wrong, &["twin", "get", "d1"]);
    let unauthorised = "error: device `d1`: IotHubUnauthorizedAccess (401002): Unauthorized\n\
        hint: check SharedAccessKeyName and SharedAccessKey in IOTHUB_CONNECTION_STRING, the \
        policy's permissions and this machine's clock\n";
    check(&done, 6, unauthorised);
    let done = program(Some(&rig.identity.to_text_with_key()), None, &["twin", "get", "d1"]);
    let untrusted = "error: hub `localhost:PORT`: its certificate is not signed by a trusted \
        authority\n\
        hint: set --ca-file or IOTHUB_CA_FILE to the certificate of the authority that signs for \
        this hub\n";
    check(&done, 8, untrusted);
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
    let stale = rig.run(&["twin", "patch", "d1", r#"{"tags":{}}"#, "--etag", "stale"]);
    assert_eq!(stale.status.code(), Some(1));
    // An empty shell variable must not disable the condition.
    let empty = rig.run(&["twin", "patch", "d1", r#"{"tags":{}}"#, "--etag", ""]);
    assert_eq!(empty.status.code(), Some(2));
    let query = "SELECT deviceId FROM devices WHERE tags.floor = 1";
    assert_eq!(rig.json(&["query", query]), json!({"deviceId": "d1"}));
    let all = rig.run(&["query", "SELECT deviceId FROM devices", "--page-size", "1"]).stdout;
    assert_eq!(String::from_utf8(all).unwrap().lines().count(), 3);
    let twin = rig.json(&["twin", "replace", "d1", r#"{"tags":{"new":true}}"#]);
    assert_eq!(twin["tags"], json!({"new": true}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_without_effect_is_refused_with_an_example() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let done = rig.run(&["twin", "patch", "d1", r#"{"desired":{"interval":5}}"#]);
    let refused = "error: the patch has `desired`, which a service cannot change\n\
        hint: a service changes `tags` and `properties.desired`, as in \
        {\"properties\":{\"desired\":{\"interval\":5}}}\n";
    check(&done, 2, refused);
    let unchanged = rig.json(&["twin", "get", "d1"]);
    let done = rig.run(&["twin", "replace", "d1", &unchanged.to_string()]);
    check(&done, 0, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_without_results_reports_0_items() {
    let rig = Rig::start().await;
    let done = rig.run(&["query", "SELECT * FROM devices WHERE tags.flor = 1"]);
    check(&done, 0, "0 items\n");
    assert_eq!(done.stdout, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_argument_that_is_not_json_is_refused_with_an_example() {
    let rig = Rig::start().await;
    let done = rig.run(&["invoke", "d1", "greet", "world"]);
    let not_json = "error: the payload is not JSON (a string needs its own quotes: '\"text\"'): \
        expected value at line 1 column 1\n";
    check(&done, 2, not_json);
    let done = rig.run(&["twin", "patch", "d1", "@/no/such/file"]);
    let no_file = "error: the patch: /no/such/file: No such file or directory (os error 2)\n";
    check(&done, 2, no_file);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_can_be_read_from_a_file() {
    let rig = Rig::start().await;
    let file = rig.folder.path().join("payload.json");
    std::fs::write(&file, "{\"percent\": 40}").unwrap();
    // The device is unknown, so an accepted payload leads to code 4.
    let done = rig.run(&["invoke", "nobody", "setFan", &format!("@{}", file.display())]);
    assert_eq!(done.status.code(), Some(4));
    assert_eq!(rig.run(&["invoke", "nobody", "setFan", "-5"]).status.code(), Some(4));
    std::fs::write(&file, "percent: 40").unwrap();
    let done = rig.run(&["invoke", "nobody", "setFan", &format!("@{}", file.display())]);
    assert_eq!(done.status.code(), Some(2));
}

#[test]
fn a_timeout_outside_the_range_of_iot_hub_is_refused_without_a_request() {
    for (arguments, range) in [
        (["--timeout", "2s"], "IoT Hub allows 5s to 300s"),
        (["--connect-timeout", "301s"], "IoT Hub allows 0s to 300s"),
    ] {
        let done = program(None, None, &[&["invoke", "d1", "greet"][..], &arguments].concat());
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{text}");
        assert!(text.contains(range), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_is_printed_by_section_and_a_device_on_one_line() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    rig.json(&["twin", "patch", "d1", r#"{"properties":{"desired":{"interval":5}}}"#]);

    let twin = rig.text(&["twin", "get", "d1"]);
    assert!(twin.starts_with("d1: disconnected, version "), "{twin}");
    assert!(twin.contains("desired (version 2): {\n  \"interval\": 5\n}\n"), "{twin}");
    assert!(!twin.contains("$metadata"), "{twin}");
    let devices = rig.text(&["devices", "list"]);
    let columns: Vec<_> = devices.split_whitespace().collect();
    assert_eq!(columns, ["d1", "enabled", "disconnected", "sas"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connection_string_can_be_read_from_a_file() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let (file, ca_file) = (rig.folder.path().join("identity"), rig.folder.path().join("ca.pem"));
    std::fs::write(&file, format!("{}\n", rig.identity.to_text_with_key())).unwrap();
    let arguments = ["--connection-string-file", file.to_str().unwrap(), "devices", "get", "d1"];
    assert_eq!(program(None, ca_file.to_str(), &arguments).status.code(), Some(0));

    std::fs::remove_file(&file).unwrap();
    let done = program(None, ca_file.to_str(), &arguments);
    let missing = format!(
        "error: connection string file {}: No such file or directory (os error 2)\n\
         hint: name a file that this user can read with --connection-string-file, or set \
         IOTHUB_CONNECTION_STRING\n",
        file.display()
    );
    check(&done, 1, &missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_flag_prints_errors_as_json_with_their_exit_code() {
    let rig = Rig::start().await;
    let done = rig.run(&["--json", "invoke", "nobody", "greet"]);
    let error: Value = serde_json::from_slice(&done.stderr).unwrap();
    assert_eq!((done.status.code(), &error["exit_code"]), (Some(4), &json!(4)));
    assert_eq!((&error["error"], &error["code"]), (&json!("not-found"), &json!("DeviceNotFound")));
    assert_eq!(error["message"], "device `nobody`: DeviceNotFound (404001): nobody");
    assert_eq!(format!("hint: {}\n", error["hint"].as_str().unwrap()), UNKNOWN_DEVICE_HINT);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_json_flag_prints_usage_errors_as_json() {
    let rig = Rig::start().await;
    let done = rig.run(&["invoke", "--json"]);
    let error: Value = serde_json::from_slice(&done.stderr).unwrap();
    let expected = json!({
        "error": "usage",
        "message": "the following required arguments were not provided: <DEVICE> <METHOD>",
        "hint": null,
        "exit_code": 2,
    });
    assert_eq!((done.status.code(), error), (Some(2), expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pipe_ends_the_program_silently() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-service"));
    let done = program
        .args(["devices", "list"])
        .env("IOTHUB_CONNECTION_STRING", rig.identity.to_text_with_key())
        .env("IOTHUB_CA_FILE", rig.folder.path().join("ca.pem"))
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    check(&done, 0, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_byte_order_mark_is_accepted_and_other_encodings_are_reported() {
    let rig = Rig::start().await;
    let file = rig.folder.path().join("service.txt");
    let run = || {
        let file = file.to_str().unwrap();
        let arguments = ["--connection-string-file", file, "devices", "list"];
        program(None, rig.folder.path().join("ca.pem").to_str(), &arguments)
    };
    let identity = rig.identity.to_text_with_key();
    std::fs::write(&file, format!("\u{feff}{identity}\r\n")).unwrap();
    check(&run(), 0, "0 devices\n");

    let utf16: Vec<u8> = identity.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&file, utf16).unwrap();
    let name = file.display();
    let expected =
        format!("error: connection string file {name}: UTF-16, not UTF-8; save it as UTF-8\n");
    check(&run(), 1, &expected);

    std::fs::write(&file, format!("'{identity}'")).unwrap();
    let expected = format!(
        "error: {name}: connection string is in quotes; leave them out\n\
         hint: copy it whole: behaviour-hub and the Azure portal show it\n"
    );
    check(&run(), 1, &expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_offer_the_devices_of_the_hub() {
    let rig = Rig::start().await;
    rig.text(&["devices", "create", "door-1"]);
    rig.text(&["devices", "create", "lamp-1"]);
    let complete = |identity: Option<&str>| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-service"));
        program.args(["--", "behaviour-service", "twin", "get", "do"]).env("COMPLETE", "fish");
        program.env_remove("IOTHUB_CONNECTION_STRING").env_remove("IOTHUB_CONNECTION_STRING_FILE");
        program.env("IOTHUB_CA_FILE", rig.folder.path().join("ca.pem"));
        let done = program.envs(identity.map(|it| ("IOTHUB_CONNECTION_STRING", it))).output();
        let done = done.unwrap();
        assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(0), &b""[..]));
        String::from_utf8(done.stdout).unwrap()
    };
    let identity = rig.identity.to_text_with_key();
    let offered = complete(Some(&identity));
    assert!(offered.contains("door-1") && !offered.contains("lamp-1"), "{offered}");
    assert!(!complete(None).contains("door-1"));
    assert!(!complete(Some("nonsense")).contains("door-1"));
}
