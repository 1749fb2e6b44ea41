//! Commands that run until Ctrl-C: twins and messages.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::{Rig, UNKNOWN_DEVICE_HINT, check};

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_watched_until_the_hub_ends_the_stream() {
    let rig = Rig::start().await;
    let done = rig.run(&["messages", "watch", "nobody"]);
    let unknown = "error: device `nobody`: DeviceNotFound (404001): nobody\n";
    check(&done, 4, &[unknown, UNKNOWN_DEVICE_HINT].concat());

    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-service"));
    program
        .args(["messages", "watch", "d1"])
        .env("IOTHUB_CONNECTION_STRING", rig.identity.to_text_with_key())
        .env("IOTHUB_CA_FILE", rig.folder.path().join("ca.pem"))
        .stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    let mut notes = BufReader::new(child.stderr.take().unwrap()).lines();
    assert_eq!(notes.next().unwrap().unwrap(), "waiting for messages");
    rig.hub.stop().await;
    assert_eq!(child.wait().unwrap().code(), Some(8));
    assert!(notes.next().unwrap().unwrap().starts_with("error: hub `localhost:"));
}

/// A running command that watches, which is killed at the end of the test.
pub(super) struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    pub(super) fn start(rig: &Rig, arguments: &[&str]) -> Watching {
        let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-service"));
        program
            .args(arguments)
            .env("IOTHUB_CONNECTION_STRING", rig.identity.to_text_with_key())
            .env("IOTHUB_CA_FILE", rig.folder.path().join("ca.pem"))
            .stdout(Stdio::piped());
        let mut child = program.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Watching { child, lines }
    }

    pub(super) fn json(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_value_is_printed_with_its_time_and_a_difference_with_the_earlier_value() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let patch = |interval: u32| {
        let patch = json!({"properties": {"desired": {"interval": interval}}}).to_string();
        rig.json(&["twin", "patch", "d1", &patch]);
    };
    patch(5);
    let path = "properties.desired.interval";
    let arguments = [
        "--json",
        "twin",
        "watch",
        "d1",
        "--every",
        "100ms",
        "--path",
        "properties.desired.interval",
    ];
    let mut values = Watching::start(&rig, &arguments);
    let first = values.json();
    assert_eq!((&first["path"], &first["value"]), (&json!(path), &json!(5)));
    assert!(first["time"].as_str().unwrap().ends_with('Z'), "{first}");

    let mut program = Command::new(env!("CARGO_BIN_EXE_behaviour-service"));
    let arguments = ["--json", "twin", "watch", "d1", "--every", "100ms", "--diff"];
    program
        .args(arguments)
        .env("IOTHUB_CONNECTION_STRING", rig.identity.to_text_with_key())
        .env("IOTHUB_CA_FILE", rig.folder.path().join("ca.pem"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    let mut notes = BufReader::new(child.stderr.take().unwrap()).lines();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut changes = Watching { child, lines };
    assert!(notes.next().unwrap().unwrap().ends_with("waiting for changes"));
    patch(6);
    assert_eq!(values.json()["value"], 6);
    let change = changes.json();
    assert_eq!(change["path"], path);
    assert_eq!((&change["before"], &change["value"]), (&json!(5), &json!(6)));
    assert_eq!(rig.run(&["twin", "watch", "d1", "--path", "reported.a"]).status.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_twin_is_printed_once_and_then_its_changes() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let patch = |interval: u32| {
        let patch = json!({"properties": {"desired": {"interval": interval}}}).to_string();
        rig.json(&["twin", "patch", "d1", &patch]);
    };
    patch(5);
    let mut twin = Watching::start(&rig, &["twin", "watch", "d1", "--every", "100ms"]);
    let first = twin.lines.next().unwrap().unwrap();
    assert!(first.contains("Z  d1: disconnected, version "), "{first}");
    let mut shown = Vec::new();
    while !shown.iter().any(|line: &String| line.starts_with("reported (version 1): ")) {
        shown.push(twin.lines.next().unwrap().unwrap());
    }
    assert!(!shown.concat().contains("$metadata"), "{shown:?}");
    patch(6);
    let change = twin.lines.next().unwrap().unwrap();
    assert!(change.ends_with("Z  properties.desired.interval: 5 -> 6"), "{change}");

    let mut whole = Watching::start(&rig, &["--json", "twin", "watch", "d1", "--every", "100ms"]);
    assert!(whole.json()["properties"]["desired"]["$metadata"].is_object());
}
