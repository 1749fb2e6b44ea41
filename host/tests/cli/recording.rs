//! `behaviour-host record`.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use hub::Hub;
use protocol::method::MethodRequest;
use serde_json::{Value, json};
use service::{Client, ClientSettings};

use crate::rig::{Running, directory, hub, plugin, program};

/// Runs the command to its end, and returns its exit code and standard error.
fn record(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let done = program(directory, &[&["record"], arguments].concat(), None).output().unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

/// Starts the command and waits until the host records.
fn start(directory: &Path, arguments: &[&str]) -> Child {
    let mut command = program(directory, &[&["record"], arguments].concat(), None);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "recording calls of `p`; Ctrl-C ends the recording\n");
    child
}

async fn call(hub: &Hub, payload: Value) {
    let device = "d1".parse().unwrap();
    hub.connected(&device).await;
    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();
    let request = MethodRequest::new("open".parse().unwrap(), payload);
    client.invoke(&device, &request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_recorded_call_becomes_a_private_file() {
    let (hub, _folder, toml) = hub().await;
    let identity = hub.create_device(&"d1".parse().unwrap()).unwrap().to_text_with_key();
    let toml = toml + "[plugins.p.config]\nuserToken = \"t-11223344\"\n";
    let mut host = Running::start(&toml, &identity);
    host.line_with("control socket open");
    let folder = host.directory.path().to_owned();

    let child = start(&folder, &["--plugin", "p", "--count", "2", "--out", "door.json"]);
    call(&hub, json!({"door": 1})).await;
    call(&hub, json!({"door": 2})).await;
    let done = child.wait_with_output().unwrap();
    let shown = String::from_utf8(done.stdout).unwrap();
    assert_eq!(shown, "door-1.json: open: status 200\ndoor-2.json: open: status 200\n");
    assert_eq!(done.status.code(), Some(0));
    for (file, door) in [("door-1.json", 1), ("door-2.json", 2)] {
        let file = folder.join(file);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&file).unwrap();
        let case: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(case["payload"], json!({"door": door}));
        assert_eq!(case["config"], json!({"userToken": "redacted"}), "{text}");
    }
    host.line_with("recording of calls ended: all calls are recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_ends_with_its_client() {
    let (hub, _folder, toml) = hub().await;
    let identity = hub.create_device(&"d1".parse().unwrap()).unwrap().to_text_with_key();
    let mut host = Running::start(&toml, &identity);
    host.line_with("control socket open");
    let folder = host.directory.path().to_owned();

    let mut child = start(&folder, &["open", "--out", "a.json"]);
    let (code, error) = record(&folder, &["open", "--out", "b.json"]);
    let busy = "error: another recording is running; it ends with its client\n";
    assert_eq!((code, error.as_str()), (Some(1), busy));
    child.kill().unwrap();
    child.wait().unwrap();
    host.line_with("recording of calls ended: the client has disconnected");
    start(&folder, &["open", "--out", "b.json"]).kill().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_the_plugin_does_not_serve_is_refused() {
    let (hub, _folder, toml) = hub().await;
    let identity = hub.create_device(&"d1".parse().unwrap()).unwrap().to_text_with_key();
    let other = "[plugins.q]\nfile = \"reply.wasm\"\nmethods = [\"close\"]\n";
    let mut host = Running::start(&(toml + other), &identity);
    host.line_with("control socket open");

    let arguments = ["open", "--plugin", "q", "--out", "a.json"];
    let (code, error) = record(host.directory.path(), &arguments);
    assert_eq!(error, "error: plugin `p` serves `open`, not `q`\n");
    assert_eq!(code, Some(1));
}

#[test]
fn an_impossible_recording_is_refused_in_one_line() {
    let folder = directory(&plugin("reply.wasm"));
    std::fs::write(folder.path().join("old.json"), "{}").unwrap();
    let record = |arguments: &[&str]| record(folder.path(), arguments);

    let (code, error) = record(&["open", "--out", "old.json"]);
    assert!(error.starts_with("error: old.json: "), "{error}");
    assert!(error.contains("\nhint: name a file that does not exist; "), "{error}");
    assert_eq!((code, error.lines().count()), (Some(1), 2), "{error}");
    assert_eq!(std::fs::read_to_string(folder.path().join("old.json")).unwrap(), "{}");
    let (code, error) = record(&["open", "--out", "new.json"]);
    assert!(error.starts_with("error: no host is running with this configuration"), "{error}");
    assert_eq!(code, Some(3));
    assert_eq!(record(&["--out", "new.json"]).0, Some(2));
    assert_eq!(record(&["open", "--out", "new.json", "--redact", "payload"]).0, Some(2));
    assert!(!folder.path().join("new.json").exists());
}

#[test]
fn a_recording_without_calls_ends_after_its_timeout() {
    let toml = format!("[hub]\nport = 1\n{}", plugin("reply.wasm"));
    let mut host = Running::start(&toml, &crate::rig::identity());
    host.line_with("control socket open");
    let folder = host.directory.path().to_owned();

    let (code, error) = record(&folder, &["open", "--out", "a.json", "--timeout", "1s"]);
    let expected = "recording calls of `p`; Ctrl-C ends the recording\n\
                    error: 0 of 1 calls recorded: the time limit is reached\n\
                    hint: call the method while the recording runs, or raise --timeout\n";
    assert_eq!((code, error.as_str()), (Some(1), expected));
    let (code, error) = record(&folder, &["--plugin", "q", "--out", "a.json"]);
    assert_eq!((code, error.lines().next()), (Some(4), Some("error: the host has no plugin `q`")));
}
