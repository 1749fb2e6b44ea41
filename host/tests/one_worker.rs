//! A host whose runtime has one worker thread, as on a machine with one core.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hub::{Hub, HubConfig};
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use serde_json::{Value, json};
use service::{Client, ClientSettings};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

/// Number of calls in flight, and of the calls that each caller makes one after the other.
const CALLERS: usize = 32;
const CALLS: usize = 12;

/// Time limit of every wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running host, which is killed when it is dropped.
struct Host(Child);

impl Host {
    fn start(folder: &Path, identity: &str) -> Host {
        let host = Command::new(env!("CARGO_BIN_EXE_behaviour-host"))
            .arg("run")
            .current_dir(folder)
            .env("IOTHUB_DEVICE_CONNECTION_STRING", identity)
            .env("TOKIO_WORKER_THREADS", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Host(host.unwrap())
    }

    /// Asks the host to stop, and waits until it has ended.
    async fn stop(mut self) -> Option<i32> {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        let ended = spawn_blocking(move || self.0.wait().unwrap().code());
        timeout(PATIENCE, ended).await.expect("the host ends").unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A service that calls methods of the device.
#[derive(Clone)]
struct Service {
    client: Client,
    device: DeviceId,
}

impl Service {
    async fn call(&self, method: &str, payload: Value) -> (i32, Value) {
        let mut request = MethodRequest::new(method.parse().unwrap(), payload);
        request.connect_timeout = Duration::from_secs(60);
        let answer = timeout(PATIENCE, self.client.invoke(&self.device, &request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("no answer to `{method}`")).unwrap();
        (answer.status, answer.payload.to_value())
    }
}

/// Replaces the file of a plugin by another version.
fn replace(folder: &Path, fixture: &str) {
    let temporary = folder.join("new");
    fs::write(&temporary, fixtures::guest(fixture)).unwrap();
    fs::rename(temporary, folder.join("p.wasm")).unwrap();
}

/// The hub has one worker as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_worker_thread_answers_calls_that_sleep_and_compute_and_swaps_and_drains() {
    let hub = Hub::start(HubConfig::default()).await.unwrap();
    let device: DeviceId = "d1".parse().unwrap();
    let identity = hub.create_device(&device).unwrap().to_text_with_key();
    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();
    let service = Service { client, device: device.clone() };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hub.pem"), hub.ca_pem()).unwrap();
    let fixtures = ["keeps.wat", "sleeps.wat", "misbehaves.wat"];
    let _files = fixtures.map(|fixture| fixtures::write(fixture, folder.path()));
    replace(folder.path(), "version-one.wat");
    let toml = format!(
        "[hub]\nport = {}\nca_file = \"hub.pem\"\n[host]\ndata = \"data\"\ngrace = \"20s\"\n\
         [plugins.keeps]\nfile = \"keeps.wasm\"\nmethods = [\"keep\"]\nlimits.jobs = 1000\n\
         [plugins.sleeps]\nfile = \"sleeps.wasm\"\nmethods = [\"doze\"]\n\
         [plugins.misbehaves]\nfile = \"misbehaves.wasm\"\nmethods = [\"spin\", \"echo\"]\n\
         deadline = \"100ms\"\ndisable_after = 0\n\
         [plugins.p]\nfile = \"p.wasm\"\nmethods = [\"ask\"]\n",
        hub.mqtt_port()
    );
    fs::write(folder.path().join("host.toml"), toml).unwrap();
    let host = Host::start(folder.path(), &identity);
    timeout(PATIENCE, hub.connected(&device)).await.expect("the device connects");

    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let service = service.clone();
        callers.spawn(async move {
            for call in 0..CALLS {
                let (method, payload, expected) = match (caller + call) % 8 {
                    0 => ("spin", json!(null), 504),
                    1 | 2 => ("doze", json!(20), 200),
                    3 => ("keep", json!(caller * CALLS + call), 200),
                    4 => ("ask", json!(null), 200),
                    _ => ("echo", json!(call), 200),
                };
                let (status, answer) = service.call(method, payload).await;
                assert_eq!(status, expected, "{method}: {answer}");
            }
        });
    }
    for version in ["version-two.wat", "version-one.wat", "version-two.wat"] {
        replace(folder.path(), version);
        let first = if version == "version-two.wat" { "two" } else { "one" };
        let swapped = async { while service.call("ask", json!(null)).await.1["first"] != first {} };
        timeout(PATIENCE, swapped).await.unwrap_or_else(|_| panic!("no swap to `{version}`"));
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }

    // Calls in flight are answered before the host ends. The hub refuses those that reach it later.
    let mut dozing = JoinSet::new();
    for _ in 0..CALLERS {
        let service = service.clone();
        let request = MethodRequest::new("doze".parse().unwrap(), json!(1000));
        dozing.spawn(async move { service.client.invoke(&service.device, &request).await });
    }
    assert_eq!(service.call("doze", json!(10)).await.0, 200);
    assert_eq!(host.stop().await, Some(0));
    let mut answered = 0;
    while let Some(call) = timeout(PATIENCE, dozing.join_next()).await.expect("each call ends") {
        answered += usize::from(call.unwrap().is_ok_and(|answer| answer.status == 200));
    }
    assert!(answered > 0);
}
