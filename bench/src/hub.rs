//! The hub of a run, in a separate process, so that its work is not attributed to the
//! measured device.

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
const PATIENCE: Duration = Duration::from_secs(30);

/// The time limit for the hub to notice that a device's process has ended.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// A running `behaviour-hub`.
pub(crate) struct Hub {
    pub(crate) process: Process,
    pub(crate) service: ServiceConnectionString,
    pub(crate) client: Client,
    pub(crate) mqtt_port: u16,
    pub(crate) connect_port: u16,
    ca_file: PathBuf,
}

impl Hub {
    pub(crate) async fn start(programs: &Programs, folder: &Path) -> anyhow::Result<Hub> {
        let ca_file = folder.join("hub-ca.pem");
        let mut command = Command::new(&programs.hub);
        command.args(["--mqtt-port=0", "--https-port=0", "--connect-port=0", "--log=warn"]);
        command.arg("--ca-file").arg(&ca_file);
        let mut process = Process::start("hub", folder, command)?;
        let begun = Instant::now();
        let printed = loop {
            let printed = process.printed();
            if printed.contains("IOTHUB_CONNECTION_STRING") && printed.ends_with("\n\n") {
                break printed;
            }
            process.check()?;
            if begun.elapsed() > PATIENCE {
                bail!("the hub did not start within {PATIENCE:?}: {printed}");
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
            process,
            ca_file,
        })
    }

    /// Returns the file of the certificate to trust.
    pub(crate) fn ca_file(&self) -> &str {
        self.ca_file.to_str().expect("a temporary folder has a plain name")
    }

    /// Registers a device, if it is new, and returns its connection string. The host
    /// name contains the port if `port` is set; the Python SDK must not have it.
    pub(crate) async fn device(&self, id: &str, port: bool) -> anyhow::Result<String> {
        let id: DeviceId = id.parse()?;
        let identity = match self.client.device(&id).await {
            Err(error) if error.kind() == ServiceErrorKind::NotFound => {
                self.client.create_device(&id).await?
            }
            found => found?,
        };
        self.gone(&id).await?;
        let keys = identity.authentication.and_then(|keys| keys.symmetric_key);
        let key = keys.and_then(|keys| keys.primary_key).context("a device without a key")?;
        let port = if port { format!(":{}", self.mqtt_port) } else { String::new() };
        let text = format!("HostName=localhost{port};DeviceId={id};SharedAccessKey={key}");
        // Parsed, so that a mistake in it fails here.
        Ok(text.parse::<DeviceConnectionString>()?.to_text_with_key())
    }

    /// Waits until the device is disconnected. A process that was just killed counts as
    /// connected until the hub notices, and methods sent to it meanwhile are lost.
    async fn gone(&self, id: &DeviceId) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.client.device(id).await?.connection_state.as_deref() == Some("Connected") {
            if begun.elapsed() > GONE_WITHIN {
                bail!("{id} is still connected {GONE_WITHIN:?} after its process has ended");
            }
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }
}
