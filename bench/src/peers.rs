//! The compared devices. Each has a separate identity. It answers `echo` immediately, and
//! `sleep` after the time in the payload.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use protocol::mqtt5::ConnectionProfile;
use protocol::registry::DeviceIdentity;

use crate::certificate::Certificate;
use crate::hub::Hub;
use crate::invoker::{Invoker, Request};
use crate::process::Process;
use crate::programs::{Programs, devices};

pub(crate) mod bare;

/// The environment variables of every device.
pub(crate) const IDENTITY: &str = "IOTHUB_DEVICE_CONNECTION_STRING";
const CA_FILE: &str = "HUB_CA_FILE";

/// An implementation of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// rumqttc alone, without sandbox and twin, as the upper limit.
    Bare,
    /// `behaviour-host` with the probe.
    Host,
    /// Another build of `behaviour-host`, named by the user.
    OtherHost,
    /// `behaviour-host` with a registration at the Device Provisioning Service.
    Assigned,
    /// `behaviour-host` with a certificate.
    X509,
    PythonAsync,
    PythonSync,
    Node,
}

impl Kind {
    pub(crate) const ALL: [Kind; 5] =
        [Kind::Bare, Kind::Host, Kind::Node, Kind::PythonAsync, Kind::PythonSync];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Bare => "bare rumqttc",
            Kind::Host => "behaviour-host",
            Kind::OtherHost => "the other behaviour-host",
            Kind::Assigned => "behaviour-host with an assignment",
            Kind::X509 => "behaviour-host with a certificate",
            Kind::PythonAsync => "Python SDK, async",
            Kind::PythonSync => "Python SDK, sync",
            Kind::Node => "Node SDK",
        }
    }

    fn id(self) -> &'static str {
        match self {
            Kind::Bare => "bare",
            Kind::Host => "host",
            Kind::OtherHost => "other-host",
            Kind::Assigned => "assigned",
            Kind::X509 => "x509",
            Kind::PythonAsync => "python-async",
            Kind::PythonSync => "python-sync",
            Kind::Node => "node",
        }
    }

    /// Returns the id of its device.
    pub(crate) fn device(self) -> String {
        format!("{}-device", self.id())
    }
}

/// The environment that peers need: programs, hub and load.
pub(crate) struct Stage {
    pub(crate) programs: Programs,
    pub(crate) hub: Hub,
    pub(crate) invoker: Invoker,
    pub(crate) folder: tempfile::TempDir,
}

/// A running device.
pub(crate) struct Peer {
    pub(crate) device: String,
    pub(crate) started: Instant,
    pub(crate) process: Process,
}

impl Stage {
    /// Builds the programs and starts the hub that all measurements share. `other_host` is
    /// another build of the host to measure.
    pub(crate) async fn prepare(
        other_host: Option<PathBuf>,
        unoptimised: bool,
    ) -> anyhow::Result<Stage> {
        let mut programs = Programs::build(unoptimised)?;
        programs.other_host = other_host;
        let folder = tempfile::tempdir()?;
        let hub = Hub::start(&programs, folder.path()).await?;
        let invoker = Invoker::new(&hub)?;
        Ok(Stage { programs, hub, invoker, folder })
    }

    /// Returns a stage with the same programs and a fresh hub.
    pub(crate) async fn with_new_hub(&self) -> anyhow::Result<Stage> {
        let folder = tempfile::tempdir()?;
        let hub = Hub::start(&self.programs, folder.path()).await?;
        let invoker = Invoker::new(&hub)?;
        let programs = self.programs.clone();
        Ok(Stage { programs, hub, invoker, folder })
    }

    /// Starts a peer without waiting for its connection.
    pub(crate) async fn start(&self, kind: Kind, host: &HostToml) -> anyhow::Result<Peer> {
        let device = kind.device();
        // The Python SDK has a hard-coded port and treats a port after the name as part of
        // the name.
        let with_port = !matches!(kind, Kind::PythonAsync | Kind::PythonSync);
        let identity = match kind {
            Kind::Assigned | Kind::X509 => {
                self.hub.wait_until_disconnected(&device.parse()?).await?;
                let port = self.hub.mqtt_port;
                (kind == Kind::X509)
                    .then(|| format!("HostName=localhost:{port};DeviceId={device};x509=true"))
            }
            _ => Some(self.hub.device(&device, with_port).await?),
        };
        let mut command = self.command(kind, host)?;
        command.envs(identity.map(|identity| (IDENTITY, identity)));
        command.env(CA_FILE, self.hub.ca_file());
        let started = Instant::now();
        let process = Process::start(kind.id(), self.folder.path(), command)?;
        Ok(Peer { device, started, process })
    }

    /// Starts a peer and waits until it answers.
    pub(crate) async fn ready(&self, kind: Kind, host: &HostToml) -> anyhow::Result<Peer> {
        let mut peer = self.start(kind, host).await?;
        let answer = self.invoker.connect().await?.ask(&self.echo(&peer.device)).await;
        // If the process has ended, its log explains more than the hub's timeout.
        peer.process.check()?;
        answer?;
        Ok(peer)
    }

    /// Starts a host that signs in with a certificate, and waits until it answers.
    pub(crate) async fn ready_with_certificate(
        &self,
        device: &str,
        host: &HostToml,
    ) -> anyhow::Result<Peer> {
        let folder = self.folder.path().join(device);
        std::fs::create_dir_all(&folder)?;
        let certificate = Certificate::create(device)?;
        certificate.write(&folder)?;
        let authentication = Some(certificate.registration()?);
        let identity = DeviceIdentity { authentication, ..DeviceIdentity::new(device.parse()?) };
        self.hub.client.create_identity(&identity).await?;
        let file = folder.join("host.toml");
        std::fs::write(&file, host.text(self, &folder))?;
        let mut command = Command::new(&self.programs.host);
        command.arg("run").arg("--config").arg(file);
        let port = self.hub.mqtt_port;
        let identity = format!("HostName=localhost:{port};DeviceId={device};x509=true");
        command.env(IDENTITY, identity);
        let started = Instant::now();
        let process = Process::start(device, self.folder.path(), command)?;
        let mut peer = Peer { device: device.to_owned(), started, process };
        let answer = self.invoker.connect().await?.ask(&self.echo(device)).await;
        peer.process.check()?;
        answer?;
        Ok(peer)
    }

    /// Returns the folder with the files of a host.
    pub(crate) fn host_folder(&self, kind: Kind) -> PathBuf {
        let folder = self.folder.path();
        match kind {
            Kind::OtherHost | Kind::Assigned | Kind::X509 => folder.join(kind.id()),
            _ => folder.to_owned(),
        }
    }

    /// Returns a command of `behaviour-service` for the hub.
    pub(crate) fn service(&self) -> Command {
        let mut command = Command::new(&self.programs.service);
        command.env("IOTHUB_CONNECTION_STRING", self.hub.service.to_text_with_key());
        command.env("IOTHUB_CA_FILE", self.hub.ca_file());
        command
    }

    pub(crate) fn echo(&self, device: &str) -> Request {
        self.invoker.request(device, "echo", r#"{"n":1}"#)
    }

    fn command(&self, kind: Kind, host: &HostToml) -> anyhow::Result<Command> {
        let script = |name: &str| devices().join(name);
        let command = match kind {
            Kind::Bare => {
                let mut command = Command::new(&self.programs.bench);
                command.arg("bare-device");
                command
            }
            Kind::Host | Kind::OtherHost | Kind::Assigned | Kind::X509 => {
                let program = match (&self.programs.other_host, kind) {
                    (Some(other), Kind::OtherHost) => other,
                    _ => &self.programs.host,
                };
                let folder = self.host_folder(kind);
                std::fs::create_dir_all(&folder)?;
                let file = folder.join("host.toml");
                std::fs::write(&file, host.text(self, &folder))?;
                let mut command = Command::new(program);
                command.arg("run").arg("--config").arg(file);
                command
            }
            Kind::PythonAsync | Kind::PythonSync => {
                let name =
                    if kind == Kind::PythonSync { "python_sync.py" } else { "python_async.py" };
                let mut command = Command::new(self.programs.sdks()?.python);
                command.arg(script(name));
                command.env("HUB_CONNECT_PORT", self.hub.connect_port.to_string());
                command
            }
            Kind::Node => {
                let mut command = Command::new("node");
                command.arg(script("node.js"));
                command.env("NODE_PATH", self.programs.sdks()?.node_modules);
                command.env("NODE_EXTRA_CA_CERTS", self.hub.ca_file());
                command
            }
        };
        Ok(command)
    }
}

/// The settings of a measured host that differ from the defaults.
#[derive(Debug, Default)]
pub(crate) struct HostToml {
    pub(crate) calls_at_once: Option<usize>,
    /// The folder of compiled plugins; by default `compiled` next to the file.
    pub(crate) compile_cache: Option<PathBuf>,
    /// The plugin's component; by default the probe.
    pub(crate) component: Option<PathBuf>,
    /// The connection profile of a host with a certificate.
    pub(crate) profile: Option<ConnectionProfile>,
    /// Components of further plugins, which are not called.
    pub(crate) further: Vec<PathBuf>,
    /// The number of further plugins whose method `spin-N` never answers.
    pub(crate) spinners: usize,
    /// Tables of the identity, for a device without a key of the hub.
    pub(crate) identity: String,
    /// Further tables.
    pub(crate) tables: String,
}

impl HostToml {
    /// Returns the text of the file for a host with its data and its cache in `folder`.
    pub(crate) fn text(&self, stage: &Stage, folder: &Path) -> String {
        let quoted = |path: &Path| format!("{:?}", path.display().to_string());
        let cache = self.compile_cache.clone();
        let cache = cache.unwrap_or_else(|| folder.join("compiled"));
        let component = self.component.as_ref().unwrap_or(&stage.programs.probe);
        // Each call reserves the memory that it can use. Thousands of calls exceed the default.
        let memory = self.calls_at_once.map_or("", |_| "memory_bytes = 64000000000\n");
        let profile = self.profile.map_or_else(String::new, |profile| {
            format!(
                "profile = \"{profile}\"\nidentity.certificate_file = \"device.pem\"\n\
                 identity.key_file = \"device-key.pem\"\n"
            )
        });
        let mut text = format!(
            "{}[hub]\nport = {}\nca_file = {:?}\n{profile}[host]\n{memory}compile_cache = {}\ndata = {}\n\
             [plugins.probe]\nfile = {}\nmethods = [\"*\"]\ndeadline = \"60s\"\n",
            self.identity,
            stage.hub.mqtt_port,
            stage.hub.ca_file(),
            quoted(&cache),
            quoted(&folder.join("data")),
            quoted(component),
        );
        if let Some(calls) = self.calls_at_once {
            let _ = writeln!(text, "limits.calls_at_once = {calls}");
        }
        for (index, component) in self.further.iter().enumerate() {
            let component = quoted(component);
            let _ = writeln!(
                text,
                "[plugins.further-{index}]\nfile = {component}\nmethods = [\"further{index}\"]"
            );
        }
        for index in 0..self.spinners {
            let component = quoted(component);
            let _ = writeln!(
                text,
                "[plugins.spinner-{index}]\nfile = {component}\nmethods = [\"spin-{index}\"]\n\
                 deadline = \"60s\""
            );
        }
        text + &self.tables
    }
}
