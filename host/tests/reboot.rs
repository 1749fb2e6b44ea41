//! Reboot commands that do not reboot the machine.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use std::path::Path;
use std::time::Duration;

use hub::{Hub, HubConfig};
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use serde_json::{Value, json};
use service::{Client, ClientSettings};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Timeout of every wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// Hub, and directory with the configuration of a host.
struct Rig {
    hub: Hub,
    client: Client,
    device: DeviceId,
    identity: String,
    directory: TempDir,
}

impl Rig {
    /// Creates a rig whose reboot command appends a line to the file `ran` and then runs
    /// `command`.
    async fn new(command: &str, settings: &str) -> Rig {
        let hub = Hub::start(HubConfig::default()).await.unwrap();
        let device: DeviceId = "d1".parse().unwrap();
        let identity = hub.create_device(&device).unwrap().to_text_with_key();
        let ca_pem = Some(hub.ca_pem().to_owned());
        let settings_of_client = ClientSettings { ca_pem, ..Default::default() };
        let client = Client::new(hub.service_connection_string(), settings_of_client).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        std::fs::write(folder.join("hub.pem"), hub.ca_pem()).unwrap();
        let _component = fixtures::write("boots.wat", folder);
        let _component = fixtures::write("reply.wat", folder);
        let script = format!("echo ran >> '{}'; {command}", folder.join("ran").display());
        let toml = format!(
            "[hub]\nport = {}\nca_file = \"hub.pem\"\n\
             [host]\ndata = \"data\"\nreboot_command = [\"sh\", \"-c\", {script:?}]\n{settings}\n\
             [plugins.boots]\nfile = \"boots.wasm\"\nmethods = [\"reboot\"]\n\
             capabilities = [\"power\"]\nidempotency_key = \"requestId\"\n\
             [plugins.reply]\nfile = \"reply.wasm\"\nmethods = [\"echo\"]\n",
            hub.mqtt_port()
        );
        std::fs::write(folder.join("host.toml"), toml).unwrap();
        Rig { hub, client, device, identity, directory }
    }

    fn folder(&self) -> &Path {
        self.directory.path()
    }

    /// Starts the host, after the hub has noticed the end of the previous one.
    async fn start(&self) -> Child {
        until("no host is connected", || async { !self.hub.is_connected(&self.device) }).await;
        let host = Command::new(env!("CARGO_BIN_EXE_behaviour-host"))
            .args(["run", "--log", "warn"])
            .current_dir(self.folder())
            .env("IOTHUB_DEVICE_CONNECTION_STRING", &self.identity)
            .env("XDG_RUNTIME_DIR", self.folder())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        within("the device connects", self.hub.connected(&self.device)).await;
        host
    }

    async fn call(&self, method: &str, payload: Value) -> (i32, Value) {
        let mut request = MethodRequest::new(method.parse().unwrap(), payload);
        request.connect_timeout = Duration::from_secs(10);
        let answer = self.client.invoke(&self.device, &request).await.unwrap();
        (answer.status, answer.payload.to_value())
    }

    /// Returns the number of runs of the reboot command.
    fn runs(&self) -> usize {
        std::fs::read_to_string(self.folder().join("ran")).unwrap_or_default().lines().count()
    }

    async fn until_run(&self) {
        until("the command runs", || async { self.runs() > 0 }).await;
    }

    async fn until_reported(&self, rebooted: bool) {
        until("the outcome is reported", || async {
            let twin = self.client.twin(&self.device).await.unwrap();
            twin.properties.reported.get("rebooted") == Some(&json!(rebooted))
        })
        .await;
    }
}

async fn within<T>(what: &str, done: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, done).await;
    done.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}

async fn until<F: Future<Output = bool>>(what: &str, look: impl Fn() -> F) {
    within(what, async {
        while !look().await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// Checks a command that ends the host, which is then started again.
async fn check_command_that_ends_the_host(command: &str) {
    let rig = Rig::new(command, "reboot_min_uptime = \"0s\"").await;
    let mut first = rig.start().await;
    assert_eq!(rig.call("reboot", json!(1)).await.0, 202);
    within("the command ends the host", first.wait()).await.unwrap();

    let mut second = rig.start().await;
    rig.until_reported(false).await;
    assert_eq!(rig.call("echo", json!("on")).await, (200, json!("on")));
    second.kill().await.unwrap();
    let _third = rig.start().await;
    assert_eq!(rig.call("echo", json!("on")).await, (200, json!("on")));
    assert_eq!(rig.runs(), 1, "{command}");
}

/// Checks a command that has no effect or does not end. The host is killed meanwhile.
async fn check_command_that_leaves_the_host_running(command: &str) {
    let rig = Rig::new(command, "reboot_min_uptime = \"0s\"").await;
    let mut first = rig.start().await;
    assert_eq!(rig.call("reboot", json!(1)).await.0, 202);
    rig.until_run().await;
    first.kill().await.unwrap();

    let _second = rig.start().await;
    rig.until_reported(false).await;
    assert_eq!(rig.call("echo", json!("on")).await, (200, json!("on")));
    assert_eq!(rig.runs(), 1, "{command}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_asks_the_host_to_end_runs_once() {
    check_command_that_ends_the_host("kill -TERM $PPID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_kills_the_host_runs_once() {
    check_command_that_ends_the_host("kill -9 $PPID").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_nothing_runs_once() {
    check_command_that_leaves_the_host_running("true").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_end_runs_once() {
    check_command_that_leaves_the_host_running("exec sleep 1000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_does_not_inherit_secrets_from_the_host() {
    let rig = Rig::new("env > environment; kill -9 $PPID", "reboot_min_uptime = \"0s\"").await;
    let mut host = rig.start().await;
    assert_eq!(rig.call("reboot", json!(1)).await.0, 202);
    within("the command ends the host", host.wait()).await.unwrap();

    let environment = std::fs::read_to_string(rig.folder().join("environment")).unwrap();
    assert!(environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("SharedAccessKey"), "{environment}");
    assert!(!environment.contains("IOTHUB"), "{environment}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_call_after_a_reboot_gets_the_first_answer_and_no_second_reboot() {
    let rig = Rig::new("kill -9 $PPID", "reboot_min_uptime = \"0s\"").await;
    let mut first = rig.start().await;
    let request = json!({"requestId": "r1"});
    let answer = rig.call("reboot", request.clone()).await;
    assert_eq!(answer.0, 202);
    within("the command ends the host", first.wait()).await.unwrap();

    let _second = rig.start().await;
    assert_eq!(rig.call("reboot", request).await, answer);
    rig.until_reported(false).await;
    assert_eq!(rig.runs(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_on_reboots_per_hour_survives_a_restart() {
    let rig = Rig::new("kill -9 $PPID", "reboot_min_uptime = \"0s\"\nreboots_per_hour = 1").await;
    let mut first = rig.start().await;
    assert_eq!(rig.call("reboot", json!(1)).await.0, 202);
    within("the command ends the host", first.wait()).await.unwrap();

    let _second = rig.start().await;
    // 403: the error's case is `quota-exceeded`.
    assert_eq!(rig.call("reboot", json!(2)).await.0, 403);
    assert_eq!(rig.runs(), 1);
}
