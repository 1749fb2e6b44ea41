//! `kill -9` at each step of the activation of a version from a registry. The host comes back with
//! a working version, and finishes what the cloud asks for.
//!
//! The tests kill the host once at each step. `BEHAVIOUR_KILLS=20 cargo test -p behaviour-host
//! --test activation_kill` kills it 20 times.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fixtures::Publisher;
use hub::{Hub, HubConfig};
use oci::Digest;
use oci::artifact::Metadata;
use protocol::id::DeviceId;
use protocol::method::MethodRequest;
use serde_json::{Value, json};
use service::{Client, ClientSettings};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Steps of an activation: the message of the log line and, if there is one, the state.
const STEPS: [(&str, Option<&str>); 6] = [
    ("version wanted", None),
    ("version in work", Some("verifying")),
    ("version in work", Some("compiling")),
    ("version in work", Some("starting")),
    ("version activated", None),
    ("version proved healthy", None),
];

/// Timeout of every wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// Maximum number of log lines that are not read.
const MAX_LINES: usize = 10_000;

/// Running host, and the lines of its log.
struct Host {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Host {
    fn start(folder: &Path, identity: &str) -> Host {
        let mut child = Command::new(env!("CARGO_BIN_EXE_behaviour-host"))
            .args(["run", "--json-logs"])
            .current_dir(folder)
            .env("IOTHUB_DEVICE_CONNECTION_STRING", identity)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel(MAX_LINES);
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                // The last line of a killed host may be incomplete.
                sender.blocking_send(serde_json::from_str(&line).unwrap_or_default()).ok();
            }
        });
        Host { child, lines }
    }

    /// Waits for the log line of a step.
    async fn until(&mut self, (message, state): (&str, Option<&str>)) {
        let logged = async {
            while let Some(line) = self.lines.recv().await {
                if line["message"] == message && state.is_none_or(|state| line["state"] == state) {
                    return;
                }
            }
            panic!("the host ended before `{message}` {state:?}");
        };
        let logged = timeout(PATIENCE, logged).await;
        logged.unwrap_or_else(|_| panic!("no `{message}` {state:?}"));
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Device with a hub, and the service that calls it.
struct Site {
    hub: Hub,
    client: Client,
    device: DeviceId,
    publisher: Publisher,
}

impl Site {
    async fn desire(&self, digest: &Digest) {
        let desired = json!({"plugins": {"p": {"image": self.publisher.image(digest)}}});
        let patch = json!({"properties": {"desired": desired}});
        self.client.patch_twin(&self.device, patch, None).await.unwrap();
    }

    /// Returns the version that answers, once the device does.
    async fn answer(&self) -> String {
        let answered = async {
            loop {
                let mut request = MethodRequest::new("ask".parse().unwrap(), json!(1));
                request.connect_timeout = Duration::from_secs(10);
                if let Ok(answer) = self.client.invoke(&self.device, &request).await
                    && answer.status == 200
                {
                    let payload = answer.payload.to_value();
                    assert_eq!(payload["first"], payload["second"]);
                    return payload["first"].as_str().unwrap().to_owned();
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, answered).await.expect("the device answers")
    }

    async fn is_active(&self, digest: &Digest) -> bool {
        let twin = self.client.twin(&self.device).await.unwrap();
        let report = Value::from(twin.properties.reported)["plugins"]["p"].take();
        report["state"] == "active" && report["digest"] == json!(digest)
    }

    async fn until_active(&self, digest: &Digest) {
        let active = async {
            while !self.is_active(digest).await {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, active).await.expect("the version becomes active");
    }

    /// Waits until the hub knows that the host was killed.
    async fn until_gone(&self) {
        let gone = async {
            while self.hub.is_connected(&self.device) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, gone).await.expect("the connection ends");
    }
}

async fn check_killed_at(step: (&str, Option<&str>)) {
    let hub = Hub::start(HubConfig::default()).await.unwrap();
    let device: DeviceId = "d1".parse().unwrap();
    let identity = hub.create_device(&device).unwrap().to_text_with_key();
    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let publisher = Publisher::new(folder.path(), "registry.example.com");
    let release =
        |release| Metadata { methods: vec!["ask".to_owned()], release, ..Metadata::default() };
    let one = publisher.publish("version-one.wat", &release(1)).await;
    let two = publisher.publish("version-two.wat", &release(2)).await;
    std::fs::write(folder.path().join("hub.pem"), hub.ca_pem()).unwrap();
    let toml = format!(
        "[hub]\nport = {}\nca_file = \"hub.pem\"\n[host]\ndata = \"data\"\n\
         registry.offline_directory = \"images\"\ntrust.keys = [\"publisher.pem\"]\n\
         [fleet]\nimages = [\"registry.example.com/plugins/*\"]\nhealth_time = \"1s\"\n",
        hub.mqtt_port()
    );
    std::fs::write(folder.path().join("host.toml"), toml).unwrap();
    let site = Site { hub, client, device, publisher };

    let mut host = Host::start(folder.path(), &identity);
    site.desire(&one).await;
    host.until(("version proved healthy", None)).await;
    assert_eq!(site.answer().await, "one");
    site.desire(&two).await;
    host.until(step).await;
    let was_reported = site.is_active(&two).await;
    tokio::task::spawn_blocking(|| host.kill()).await.unwrap();
    site.until_gone().await;

    let host = Host::start(folder.path(), &identity);
    let answer = site.answer().await;
    assert!(answer == "two" || !was_reported, "{step:?}: {answer}");
    site.until_active(&two).await;
    assert_eq!(site.answer().await, "two");
    tokio::task::spawn_blocking(|| host.kill()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_killed_at_any_step_works_and_finishes_the_activation() {
    let kills: u32 = std::env::var("BEHAVIOUR_KILLS").map_or(1, |kills| kills.parse().unwrap());
    for _ in 0..kills {
        for step in STEPS {
            check_killed_at(step).await;
        }
    }
}
