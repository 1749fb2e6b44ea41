//! The hub of a run. It runs in a separate process, so that its work is not attributed to
//! the measured device.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use protocol::connection_string::{DeviceConnectionString, ServiceConnectionString};
use protocol::id::DeviceId;
use service::{Client, ClientSettings, ServiceErrorKind};
use tokio::time::sleep;

use crate::process::Process;
use crate::programs::Programs;

/// The time limit of the hub's start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The time limit for the hub to notice that a device's process has ended.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A running `behaviour-hub`.
pub(crate) struct Hub {
    pub(crate) process: Process,
    pub(crate) service: ServiceConnectionString,
    pub(crate) client: Client,
    pub(crate) mqtt_port: u16,
    pub(crate) connect_port: u16,
    /// The id scope of the Device Provisioning Service.
    pub(crate) id_scope: String,
    /// The connection string of a service that enrolls devices.
    pub(crate) provisioning: String,
    ca_file: PathBuf,
}

impl Hub {
    pub(crate) async fn start(programs: &Programs, folder: &Path) -> anyhow::Result<Hub> {
        let ca_file = folder.join("hub-ca.pem");
        let mut command = Command::new(&programs.hub);
        command.args(["--mqtt-port=0", "--https-port=0", "--connect-port=0", "--log=warn"]);
        command.arg("--ca-file").arg(&ca_file);
        let mut process = Process::start("hub", folder, command)?;
        let started = Instant::now();
        let printed = loop {
            let printed = process.printed();
            if printed.contains("IOTHUB_CONNECTION_STRING") && printed.ends_with("\n\n") {
                break printed;
            }
            process.check()?;
            if started.elapsed() > START_TIMEOUT {
                bail!("the hub did not start within {START_TIMEOUT:?}: {printed}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let between = |before: &str, after: char| -> anyhow::Result<&str> {
            let (_, rest) = printed.split_once(before).with_context(|| before.to_owned())?;
            Ok(rest.split(after).next().unwrap_or_default())
        };
        let service: ServiceConnectionString =
            between("IOTHUB_CONNECTION_STRING='", '\'')?.parse()?;
        let settings = ClientSettings { ca_file: Some(ca_file.clone()), ..Default::default() };
        Ok(Hub {
            client: Client::new(service.clone(), settings)?,
            service,
            mqtt_port: between("MQTT over TLS on port ", ',')?.parse()?,
            connect_port: between("HTTP CONNECT on port ", '\n')?.parse()?,
            id_scope: between("PROVISIONING_IDSCOPE='", '\'')?.to_owned(),
            provisioning: between("PROVISIONING_CONNECTION_STRING='", '\'')?.to_owned(),
            process,
            ca_file,
        })
    }

    /// Returns the file of the certificate to trust.
    pub(crate) fn ca_file(&self) -> &str {
        self.ca_file.to_str().expect("a temporary folder has a plain name")
    }

    /// Registers a device unless it exists, and returns its connection string. The host name
    /// contains the port if `port` is `true`. The Python SDK does not accept a port.
    pub(crate) async fn device(&self, id: &str, port: bool) -> anyhow::Result<String> {
        let id: DeviceId = id.parse()?;
        let identity = match self.client.device(&id).await {
            Err(error) if error.kind() == ServiceErrorKind::NotFound => {
                self.client.create_device(&id).await?
            }
            found => found?,
        };
        self.wait_until_disconnected(&id).await?;
        let keys = identity.authentication.and_then(|keys| keys.symmetric_key);
        let key = keys.and_then(|keys| keys.primary_key).context("a device without a key")?;
        let port = if port { format!(":{}", self.mqtt_port) } else { String::new() };
        let string = format!("HostName=localhost{port};DeviceId={id};SharedAccessKey={key}");
        // Parsing the string here detects a mistake early.
        Ok(string.parse::<DeviceConnectionString>()?.to_text_with_key())
    }

    /// Waits until the device is disconnected. The hub notices the end of a killed process
    /// late, and methods that it sends before that are lost.
    /// Returns at once if there is no such device.
    pub(crate) async fn wait_until_disconnected(&self, id: &DeviceId) -> anyhow::Result<()> {
        let started = Instant::now();
        while matches!(
            self.client.device(id).await,
            Ok(device) if device.connection_state.as_deref() == Some("Connected")
        ) {
            if started.elapsed() > DISCONNECT_TIMEOUT {
                bail!("{id} is still connected {DISCONNECT_TIMEOUT:?} after its process has ended");
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}
