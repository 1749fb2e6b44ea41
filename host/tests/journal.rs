//! The log of a host under systemd's journal, with a real `systemd-journald`.
//!
//! It runs in a mount namespace with a `/run` of its own, so it is not the one of the machine.
//! Without systemd or without the right to create the namespace, the test is skipped with a
//! message.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hub::{Hub, HubConfig};
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use serde_json::{Value, json};
use service::{Client, ClientSettings};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

/// Time limit of every wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts the journal.
const JOURNAL: &str = r#"
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/journal /run/log/journal
"$JOURNALD" 2> /dev/null &
journald=$!
trap 'kill $journald' EXIT
for wait in $(seq 100); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.1; done
journalctl --sync
"#;

/// Starts a host whose standard error is connected to the journal. Ends it after a line on
/// standard input, and prints its entries.
const HOST: &str = r#"
exec 3<&0
start='JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec "$HOST" run --log debug'
systemd-cat --identifier behaviour-host sh -c "$start" &
host=$!
(read line <&3; kill -TERM $host) > /dev/null 2>&1 &
wait $host || true
journalctl --sync
journalctl --output json --no-pager SYSLOG_IDENTIFIER=behaviour-host
"#;

/// Returns the program of the journal, or a reason why the test cannot run.
fn journald() -> Result<&'static Path, String> {
    let places = ["/usr/lib/systemd/systemd-journald", "/lib/systemd/systemd-journald"];
    let journald = places.map(Path::new).into_iter().find(|path| path.exists());
    let journald = journald.ok_or("systemd-journald not found")?;
    match unshare().arg(JOURNAL).env("JOURNALD", journald).output() {
        Ok(output) if output.status.success() => Ok(journald),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("unshare: {error}")),
    }
}

/// Returns the command that runs a script in a mount namespace.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--propagation", "private"]);
    command.args(["sh", "-c"]);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_has_the_fields_of_each_line() {
    let journald = match journald() {
        Ok(path) => path,
        Err(reason) => return eprintln!("SKIPPED: no journal: {reason}"),
    };
    let hub = Hub::start(HubConfig::default()).await.unwrap();
    let device: DeviceId = "d1".parse().unwrap();
    let identity = hub.create_device(&device).unwrap().to_text_with_key();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hub.pem"), hub.ca_pem()).unwrap();
    let _file = fixtures::write("talks.wat", folder.path());
    let toml = format!(
        "[hub]\nport = {}\nca_file = \"hub.pem\"\n[host]\ndata = \"data\"\n\
         control_socket = \"c/s\"\n\
         [plugins.talks]\nfile = \"talks.wasm\"\nmethods = [\"once\"]\n",
        hub.mqtt_port()
    );
    fs::write(folder.path().join("host.toml"), toml).unwrap();
    let mut running = tokio::process::Command::from(unshare());
    let mut running = running
        .arg([JOURNAL, HOST].concat())
        .current_dir(folder.path())
        .env("JOURNALD", journald)
        .env("HOST", env!("CARGO_BIN_EXE_behaviour-host"))
        .env("IOTHUB_DEVICE_CONNECTION_STRING", &identity)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = running.stdin.take().unwrap();
    let mut ended = Box::pin(running.wait_with_output());
    tokio::select! {
        connected = timeout(PATIENCE, hub.connected(&device)) => if connected.is_err() {
            input.write_all(b"end\n").await.unwrap();
            let ended = timeout(PATIENCE, ended).await.unwrap().unwrap();
            panic!("not connected: {}", String::from_utf8_lossy(&ended.stdout));
        },
        ended = &mut ended => panic!("{}", String::from_utf8_lossy(&ended.unwrap().stdout)),
    }
    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();
    let request = MethodRequest::new("once".parse().unwrap(), json!(null));
    assert_eq!(client.invoke(&device, &request).await.unwrap().status, 200);
    input.write_all(b"end\n").await.unwrap();
    let output = timeout(PATIENCE, ended).await.expect("the host ends");

    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let entries: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let entry = |start: &str| {
        let message =
            |entry: &&Value| entry["MESSAGE"].as_str().is_some_and(|it| it.starts_with(start));
        entries.iter().find(message).unwrap_or_else(|| panic!("no `{start}` in {text}"))
    };
    let written = entry(r"plugin: one\ntwo");
    let fields = ["_TRANSPORT", "PRIORITY", "TARGET", "PLUGIN", "METHOD", "FIELD_KEY"];
    let found = fields.map(|name| written[name].as_str().unwrap_or_default());
    assert_eq!(found, ["journal", "6", "plugin", "talks", "once", r"a\rb"]);
    let answered = entry("call answered");
    assert_eq!((&answered["STATUS"], &answered["CALL"]), (&json!("200"), &written["CALL"]));
    assert!(answered["MESSAGE"].as_str().unwrap().contains("plugin=talks"), "{answered}");
    assert_eq!(entry("stopped")["DEVICE"], "d1");
    assert!(entries.iter().all(|entry| entry["_TRANSPORT"] == "journal"), "{text}");
}
