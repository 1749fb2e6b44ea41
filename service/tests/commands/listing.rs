//! Lists: devices and the items of queries.

use std::process::Command;

use serde_json::json;

use super::{KEY, Rig, check, program};

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_query_with_a_hyphen_in_a_name_shows_the_quoted_name() {
    let rig = Rig::start().await;
    let done = rig.run(&["query", "SELECT * FROM devices WHERE tags.my-site = 'a'"]);
    let hint = "hint: `tags.my-site` is a subtraction; a name with a hyphen is written in double \
        brackets: tags.[[my-site]]\n";
    check(&done, 0, &format!("0 items\n{hint}"));
    let done = rig.run(&["query", "SELECT tags.my-site FROM devices"]);
    assert!(String::from_utf8_lossy(&done.stderr).ends_with(hint), "{done:?}");
    assert_eq!(done.status.code(), Some(1), "{done:?}");
}

/// Runs the program on a terminal and returns its output.
fn on_terminal(rig: &Rig, arguments: &str) -> String {
    let line = format!("{} {arguments}", env!("CARGO_BIN_EXE_behaviour-service"));
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env("IOTHUB_CONNECTION_STRING", rig.identity.to_text_with_key())
        .env("IOTHUB_CA_FILE", rig.folder.path().join("ca.pem"))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_devices_names_its_columns_only_for_a_person() {
    let rig = Rig::start().await;
    check(&rig.run(&["devices", "list"]), 0, "0 devices\n");
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let list = on_terminal(&rig, "devices list");
    let lines: Vec<Vec<&str>> =
        list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["DEVICE", "STATUS", "CONNECTION", "AUTHENTICATION"]);
    assert_eq!(lines[1], ["d1", "enabled", "disconnected", "sas"]);
    assert_eq!(rig.text(&["devices", "list"]).lines().count(), 1);
    let json = on_terminal(&rig, "devices list --json");
    assert!(json.starts_with('{'), "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_strings_can_be_printed_as_json() {
    let rig = Rig::start().await;
    let done = rig.run(&["devices", "create", "--count", "1", "--prefix", "sim-", "--json"]);
    let created: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(created["deviceId"], "sim-0001");
    let text = rig.text(&["devices", "connection-string", "sim-0001"]);
    assert_eq!(created["connectionString"], text.trim());
    let again = rig.json(&["devices", "connection-string", "sim-0001"]);
    assert_eq!(again, json!({"deviceId": "sim-0001", "connectionString": text.trim()}));
}

#[test]
fn a_missing_file_is_named_with_a_hint() {
    let done = program(None, None, &["--connection-string-file", "/nope", "devices", "list"]);
    let error = "error: connection string file /nope: No such file or directory (os error 2)\n\
        hint: name a file that this user can read with --connection-string-file, or set \
        IOTHUB_CONNECTION_STRING\n";
    check(&done, 1, error);
    let identity =
        format!("HostName=localhost:1;SharedAccessKeyName=iothubowner;SharedAccessKey={KEY}");
    let done = program(Some(&identity), Some("/nope"), &["devices", "list"]);
    let error = "error: CA file /nope: No such file or directory (os error 2)\n\
        hint: set --ca-file or IOTHUB_CA_FILE to a PEM file of certificates\n";
    check(&done, 1, error);
}
