//! A running rig. A test can stop and restart its hub and its host.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use hub::{Hub, HubConfig};
use protocol::connection_string::DeviceConnectionString;
use protocol::id::DeviceId;
use protocol::method::{MethodRequest, MethodResult};
use protocol::registry::DeviceIdentity;
use serde_json::{Value, json};
use service::{Client, ClientSettings, ServiceError};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::relay::Relay;
use crate::{CertificateFiles, DEVICE, Rig, until, within};

/// The status of a method whose plugin is at its limit of concurrent calls.
const BUSY: i32 = 429;

/// A running rig. Its fields are dropped in order, so the host stops before the hub, and the
/// directory is removed last.
pub struct Running {
    /// The service that calls the rig's device.
    pub service: Service,
    /// The identity of the rig's device. The host uses it if the rig has a host.
    pub device: DeviceConnectionString,
    host: Option<Host>,
    hub: Option<Hub>,
    relay: Relay,
    hub_config: HubConfig,
    rig: Rig,
    directory: TempDir,
}

/// A client of the hub that calls one device.
#[derive(Debug, Clone)]
pub struct Service {
    /// The client, which can also access twins and other devices.
    pub client: Client,
    /// The id of the rig's device.
    pub device: DeviceId,
}

/// A host that runs in a task. Dropping it requests a stop without waiting.
#[derive(Debug)]
struct Host {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<anyhow::Result<()>>,
}

/// The answer to a method, with a parsed payload.
#[derive(Debug)]
pub struct Answer {
    pub status: i32,
    pub payload: Value,
}

impl Service {
    /// Invokes a method of the rig's device with the default timeouts of IoT Hub.
    pub async fn call(&self, method: &str, payload: Value) -> Result<Answer, ServiceError> {
        let request = MethodRequest::new(method.parse().unwrap(), payload);
        let MethodResult { status, payload } = self.client.invoke(&self.device, &request).await?;
        Ok(Answer { status, payload: payload.to_value() })
    }

    /// Invokes a method, and retries while the plugin is at its limit of concurrent calls.
    pub async fn call_until_free(&self, method: &str, payload: Value) -> Answer {
        until(format!("`{method}` is free"), || async {
            let answer = self.call(method, payload.clone()).await.unwrap();
            (answer.status != BUSY).then_some(answer)
        })
        .await
    }

    /// Waits until the plugin of the method is at its limit of concurrent calls, so that
    /// earlier calls are known to be running. Each probe is itself a call.
    pub async fn until_busy(&self, method: &str) {
        self.until_status(method, BUSY).await;
    }

    /// Invokes a method until it is answered with this status, and returns the payload.
    pub async fn until_status(&self, method: &str, status: i32) -> Value {
        until(format!("`{method}` is answered with {status}"), || async {
            let answer = self.call(method, 1.into()).await.unwrap();
            (answer.status == status).then_some(answer.payload)
        })
        .await
    }

    /// Returns the reported properties of the rig's device.
    pub async fn reported(&self) -> Value {
        let twin = self.client.twin(&self.device).await.unwrap();
        Value::from(twin.properties.reported)
    }

    /// Changes desired properties of the rig's device.
    pub async fn desire(&self, desired: Value) {
        let patch = json!({ "properties": { "desired": desired } });
        self.client.patch_twin(&self.device, patch, None).await.unwrap();
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
        hub_config.certificate_lifetime =
            rig.certificate_lifetime.unwrap_or(hub_config.certificate_lifetime);
        let files = CertificateFiles::in_directory(directory.path());
        let registration = rig.certificate.map(|by| files.write(DEVICE, by, 2100));
        hub_config.device_ca_files.extend(Some(files.root).filter(|root| root.exists()));
        let hub = Hub::start(hub_config.clone()).await.unwrap();
        // A restarted hub keeps its ports.
        hub_config.mqtt_port = hub.mqtt_port();
        hub_config.https_port = hub.https_port();
        hub_config.connect_port = hub.connect_port();
        let relay = Relay::start().await;
        relay.set_hub(hub.connect_port());
        std::fs::write(directory.path().join("hub.pem"), hub.ca_pem()).unwrap();

        let settings =
            ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
        let client = Client::new(hub.service_connection_string(), settings).unwrap();
        if registration.is_some() {
            let identity = DeviceIdentity {
                authentication: registration,
                ..DeviceIdentity::new(DEVICE.parse().unwrap())
            };
            client.create_identity(&identity).await.unwrap();
        }
        let device = hub.create_device(&DEVICE.parse().unwrap()).unwrap();
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

    /// Simulates a boot of the machine. The next start of the host detects it.
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

    /// Returns the hub.
    ///
    /// # Panics
    ///
    /// Panics between [`Running::stop_hub`] and [`Running::start_hub`].
    #[must_use]
    pub fn hub(&self) -> &Hub {
        self.hub.as_ref().expect("the hub is stopped")
    }

    /// Returns the PEM file of the CA certificate that signs the hub's certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.directory.path().join("hub.pem")
    }

    /// Returns the files of the device's certificate.
    #[must_use]
    pub fn certificate_files(&self) -> CertificateFiles {
        CertificateFiles::in_directory(self.directory.path())
    }

    /// Returns the port of a proxy to the hub, for clients with hard-coded ports. It stays
    /// open while the hub is stopped. Connections then wait for the hub.
    #[must_use]
    pub fn connect_port(&self) -> u16 {
        self.relay.port()
    }

    /// Waits until the device is connected and has subscribed to methods.
    pub async fn ready(&self) {
        within("the device connects", self.hub().connected(&self.service.device)).await;
    }

    /// Stops the hub and so ends every connection to it.
    pub async fn stop_hub(&mut self) {
        self.relay.set_hub(None);
        self.hub.take().expect("the hub runs").stop().await;
    }

    /// Starts the hub again, on the same ports and with its persisted state.
    pub async fn start_hub(&mut self) {
        assert!(self.hub.is_none(), "the hub is already running");
        self.hub = Some(Hub::start(self.hub_config.clone()).await.unwrap());
        self.relay.set_hub(self.hub().connect_port());
    }

    /// Starts the host and waits until its device is ready for methods.
    pub async fn start_host(&mut self) {
        assert!(self.host.is_none(), "the host is already running");
        let toml = self.rig.host_toml(self.hub().mqtt_port(), &self.ca_file());
        let file = self.directory.path().join("host.toml");
        std::fs::write(&file, toml).unwrap();
        let config = host::Config::read(&file).unwrap();
        let (stop, stopped) = oneshot::channel();
        let identity = self.device.clone();
        let machine = self.machine();
        let mut ended = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            Ok(Box::pin(host::run_on(&machine, config, identity, stopped)).await?)
        });
        tokio::select! {
            () = self.ready() => {}
            end = &mut ended => panic!("the host ended before its device was ready: {end:?}"),
        }
        self.host = Some(Host { stop, ended });
    }

    /// Replaces a plugin's file atomically with another fixture. A running host loads it
    /// shortly afterwards.
    pub fn swap(&self, plugin: &str, fixture: &str) {
        let file = self.plugin_file(plugin);
        let temporary = file.with_extension("new");
        std::fs::write(&temporary, fixtures::guest(fixture)).unwrap();
        std::fs::rename(temporary, file).unwrap();
    }

    /// Returns the path of a plugin's file.
    ///
    /// # Panics
    ///
    /// Panics if the rig has no such plugin.
    #[must_use]
    pub fn plugin_file(&self, plugin: &str) -> PathBuf {
        let plugin = self.rig.plugins.iter().find(|known| known.name == plugin);
        plugin.expect("the plugin is one of this rig").file.clone()
    }

    /// Returns the host's data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Returns the directory of the rig, to which the paths in `host.toml` are relative.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until a reported property has this value. `pointer` is a JSON pointer such as
    /// `/plugins/reply/state`.
    pub async fn until_reported(&self, pointer: &str, expected: &Value) {
        until(format!("`{pointer}` is {expected}"), || async {
            let reported = self.service.reported().await;
            (reported.pointer(pointer) == Some(expected)).then_some(())
        })
        .await;
    }

    /// Stops the host like a signal does. The host drains, disconnects and ends.
    pub async fn stop_host(&mut self) -> anyhow::Result<()> {
        let Host { stop, ended } = self.host.take().expect("the host runs");
        stop.send(()).ok();
        within("the host drains", ended).await.unwrap()
    }
}

/// Prints the log lines that `RUST_LOG` selects, as in `RUST_LOG=debug cargo test`. A test can
/// receive those up to the level `info`.
fn log_for_tests() {
    use tracing_subscriber::filter::{EnvFilter, LevelFilter};
    use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
    use tracing_subscriber::util::SubscriberInitExt as _;

    let printed = tracing_subscriber::fmt::layer().with_test_writer();
    tracing_subscriber::registry()
        .with(printed.with_filter(EnvFilter::from_default_env()))
        .with(program::LogForwarder.with_filter(LevelFilter::INFO))
        .try_init()
        .ok();
}
