//! What a rig has started, and how a test stops and starts parts of it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use hub::{Hub, HubConfig};
use protocol::connection_string::DeviceConnectionString;
use protocol::id::DeviceId;
use protocol::method::{MethodRequest, MethodResult};
use serde_json::Value;
use service::{Client, ClientSettings, ServiceError};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::relay::Relay;
use crate::{DEVICE, Rig};

/// The longest that anything in a rig is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The status of a method whose plugin is at its limit of calls.
const BUSY: i32 = 429;

/// A rig that runs. What is dropped first is stopped first: the host, then
/// the hub, then the directory.
pub struct Running {
    /// The cloud side: calls this rig's device.
    pub service: Service,
    /// The device of this rig, which the host plays if there is one.
    pub device: DeviceConnectionString,
    host: Option<Host>,
    hub: Option<Hub>,
    relay: Relay,
    hub_config: HubConfig,
    rig: Rig,
    directory: TempDir,
}

/// A service that knows the hub, and calls one device of it.
#[derive(Debug, Clone)]
pub struct Service {
    /// The whole client, for what concerns twins and other devices.
    pub client: Client,
    /// The device of the rig.
    pub device: DeviceId,
}

/// A host in a task of its own. Dropped, it is told to stop and not waited for.
#[derive(Debug)]
struct Host {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<anyhow::Result<()>>,
}

impl Service {
    /// Invokes a method of the rig's device, with the time-outs IoT Hub has by default.
    pub async fn call(&self, method: &str, payload: Value) -> Result<MethodResult, ServiceError> {
        self.client
            .invoke(&self.device, &MethodRequest::new(method.parse().unwrap(), payload))
            .await
    }

    /// The same again and again while the plugin is at its limit of calls.
    pub async fn call_until_free(&self, method: &str, payload: Value) -> MethodResult {
        loop {
            let answer = self.call(method, payload.clone()).await.unwrap();
            if answer.status != BUSY {
                return answer;
            }
        }
    }

    /// Returns when the plugin that serves the method is at its limit of calls,
    /// so that they are known to be running. Until then each look is a call.
    pub async fn until_busy(&self, method: &str) {
        let busy = async { while self.call(method, 1.into()).await.unwrap().status != BUSY {} };
        tokio::time::timeout(PATIENCE, busy).await.expect("the calls begin");
    }
}

impl Running {
    pub(crate) async fn start(rig: Rig) -> Running {
        log_for_tests();
        let directory = tempfile::tempdir().unwrap();
        let mut hub_config = HubConfig {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            connect_port: Some(0),
            data: Some(directory.path().join("hub")),
            ca_folder: Some(directory.path().join("ca")),
            ..HubConfig::default()
        };
        hub_config.host_names.extend(rig.host_names.iter().cloned());
        hub_config.token_grace = rig.token_grace.unwrap_or(hub_config.token_grace);
        let hub = Hub::start(hub_config.clone()).await.unwrap();
        // A hub that is started again is to be found where it was.
        hub_config.mqtt_port = hub.mqtt_port();
        hub_config.https_port = hub.https_port();
        hub_config.connect_port = hub.connect_port();
        let relay = Relay::start().await;
        relay.lead_to(hub.connect_port());
        std::fs::write(directory.path().join("hub.pem"), hub.ca_pem()).unwrap();

        let device = hub.create_device(&DEVICE.parse().unwrap()).unwrap();
        let settings =
            ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
        let client = Client::new(hub.service_connection_string(), settings).unwrap();
        let service = Service { client, device: device.device.clone() };
        let mut running = Running {
            service,
            device,
            host: None,
            hub: Some(hub),
            relay,
            hub_config,
            rig,
            directory,
        };
        running.boot_machine();
        if !running.rig.plugins.is_empty() {
            running.start_host().await;
        }
        running
    }

    /// Boots the machine anew, as far as a host can tell that is started then.
    pub fn boot_machine(&self) {
        let machine = self.machine();
        let ids = std::fs::read_to_string(&machine.boot_id).unwrap_or_default();
        std::fs::write(&machine.boot_id, ids + "i").unwrap();
        std::fs::write(&machine.uptime, "0.50 1.00\n").unwrap();
    }

    fn machine(&self) -> host::Machine {
        let file = |name| self.directory.path().join(name);
        host::Machine { boot_id: file("boot_id"), uptime: file("uptime") }
    }

    /// The hub. It panics between [`Running::stop_hub`] and [`Running::start_hub`].
    #[must_use]
    pub fn hub(&self) -> &Hub {
        self.hub.as_ref().expect("the hub is stopped")
    }

    /// The CA certificate that signs for the hub, as a PEM file.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("hub.pem")
    }

    /// Where clients with hard-wired ports find a proxy to the hub. It is open
    /// while the hub is stopped too: who connects then waits for the hub.
    #[must_use]
    pub fn connect_port(&self) -> u16 {
        self.relay.port()
    }

    /// Waits until the device is connected and has subscribed to methods.
    pub async fn ready(&self) {
        let device = &self.service.device;
        tokio::time::timeout(PATIENCE, self.hub().connected(device))
            .await
            .expect("the device connects");
    }

    /// Stops the hub as one that is shut down: every connection to it ends.
    pub async fn stop_hub(&mut self) {
        self.relay.lead_to(None);
        self.hub.take().expect("the hub is stopped already").stop().await;
    }

    /// Starts the hub again, on the same ports and with what it had on disk.
    pub async fn start_hub(&mut self) {
        assert!(self.hub.is_none(), "the hub runs already");
        self.hub = Some(Hub::start(self.hub_config.clone()).await.unwrap());
        self.relay.lead_to(self.hub().connect_port());
    }

    /// Starts the host and waits until its device can be called.
    pub async fn start_host(&mut self) {
        assert!(self.host.is_none(), "the host runs already");
        let toml = self.rig.host_toml(self.hub().mqtt_port(), &self.ca_file());
        let file = self.directory.path().join("host.toml");
        std::fs::write(&file, toml).unwrap();
        let config = host::Config::read(&file).unwrap();
        let (stop, stopped) = oneshot::channel();
        let identity = self.device.clone();
        let machine = self.machine();
        let mut ended = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            Ok(host::run_on(&machine, config, identity, stopped).await?)
        });
        tokio::select! {
            () = self.ready() => {}
            end = &mut ended => panic!("the host ended before its device was ready: {end:?}"),
        }
        self.host = Some(Host { stop, ended });
    }

    /// Puts another fixture where a plugin's file is, all at once: a host that
    /// runs takes it in a moment.
    pub fn swap(&self, plugin: &str, fixture: &str) {
        let plugin = self.rig.plugins.iter().find(|known| known.name == plugin);
        let file = &plugin.expect("a plugin of this rig").file;
        let beside = file.with_extension("new");
        std::fs::write(&beside, fixtures::guest(fixture)).unwrap();
        std::fs::rename(beside, file).unwrap();
    }

    /// Waits until the device has reported this at a place in its properties,
    /// such as `/plugins/reply/state`.
    pub async fn until_reported(&self, place: &str, wanted: &Value) {
        let look = async {
            loop {
                let twin = self.service.client.twin(&self.service.device).await.unwrap();
                let reported = Value::from(twin.properties.reported);
                if reported.pointer(place) == Some(wanted) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, look).await;
        waited.unwrap_or_else(|_| panic!("{place} does not become {wanted}"));
    }

    /// Stops the host as a signal does: it drains, disconnects and ends.
    pub async fn stop_host(&mut self) -> anyhow::Result<()> {
        let Host { stop, ended } = self.host.take().expect("the host is stopped already");
        stop.send(()).ok();
        tokio::time::timeout(PATIENCE, ended).await.expect("the host drains").unwrap()
    }
}

/// `RUST_LOG=debug cargo test` shows what each part says.
fn log_for_tests() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init().ok();
}
