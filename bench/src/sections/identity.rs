//! Identities: how fast a group of devices is provisioned, next to the official SDK, and what an
//! assignment or a certificate on disk costs at the start and in memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use protocol::id::DeviceId;

use crate::goals::{Measure, Results};
use crate::numbers::{Rounds, mib};
use crate::peers::{HostToml, Kind, Peer, Stage};
use crate::process::Process;
use crate::programs::devices;
use crate::report::{self, Table};
use crate::{Effort, say};

/// Number of processes of the Python SDK that provision devices at the same time.
const PYTHON_PROCESSES: usize = 32;

/// Number of starts of each kind in a round.
const STARTS_PER_ROUND: usize = 5;

/// Time limit for all devices of a group to connect.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Interval between two looks at a device that is not connected yet.
const POLL: Duration = Duration::from_millis(10);

/// Files of the devices, and the group at the Device Provisioning Service.
struct Group {
    /// The key of the group.
    key: PathBuf,
    /// A directory with the certificate and the key of `x509-device`.
    certificates: PathBuf,
}

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let stage = &stage.with_new_hub().await?;
    let group = Group::create(stage)?;
    let size = if effort.quick { 64 } else { 1000 };
    let mut found = Found::default();
    for round in 1..=effort.rounds {
        say(&format!("identity: round {round} of {}", effort.rounds));
        found.simulated.push(provision_simulated(stage, &group, round, size).await?);
        found.python.push(provision_with_python(stage, &group, round, size).await?);
        for _ in 0..STARTS_PER_ROUND {
            found.with_key.push(start(stage, &HostToml::default(), Kind::Host).await?);
            found.assigned.push(start(stage, &group.assigned(stage), Kind::Assigned).await?);
        }
        memory(stage, &group, effort, &mut found).await?;
    }
    goals.record(Measure::ProvisionedOverPython, found.simulated.over(&found.python));
    goals.record(Measure::StartAssigned, found.assigned.over(&found.with_key));
    goals.record(Measure::CertificateMemory, found.memory_x509.over(&found.memory_key));
    let mut table = Table::new(["what", "measured"]);
    let mut row =
        |what: &str, rounds: &Rounds| table.row([what.to_owned(), rounds.spread().to_string()]);
    row("`simulate`, devices provisioned and connected a second", &found.simulated);
    row("Python SDK in 32 processes, devices a second", &found.python);
    row("start to first answer with a connection string, ms", &found.with_key);
    row("the same with an assignment on disk, ms", &found.assigned);
    row("idle RSS with a connection string, MiB", &found.memory_key);
    row("idle RSS with a certificate in files, MiB", &found.memory_x509);
    let builds = if effort.unoptimised { "Unoptimised builds.\n\n" } else { "" };
    report::publish("identity", &(builds.to_owned() + &table.to_markdown()), effort.quick)
}

#[derive(Default)]
struct Found {
    simulated: Rounds,
    python: Rounds,
    with_key: Rounds,
    assigned: Rounds,
    memory_key: Rounds,
    memory_x509: Rounds,
}

impl Group {
    /// Enrolls the group, and registers a device with a self-signed certificate.
    fn create(stage: &Stage) -> anyhow::Result<Group> {
        let folder = stage.folder.path();
        service(stage, &["groups", "create", "fleet"])?;
        let key = folder.join("group.key");
        private(&key, &service(stage, &["groups", "key", "fleet"])?)?;
        let certificates = folder.join("certificates");
        let directory = certificates.to_str().context("a temporary folder has a plain name")?;
        service(stage, &["devices", "create", &Kind::X509.device(), "--x509", directory])?;
        Ok(Group { key, certificates })
    }

    /// Returns the settings of a device of the group.
    fn assigned(&self, stage: &Stage) -> HostToml {
        let id = Kind::Assigned.device();
        HostToml { identity: self.provisioning(stage, Some(&id)), ..HostToml::default() }
    }

    fn provisioning(&self, stage: &Stage, id: Option<&str>) -> String {
        let id = id.map(|id| format!("registration_id = \"{id}\"\n")).unwrap_or_default();
        format!(
            "[provisioning]\nendpoint = \"localhost:{}\"\nid_scope = \"{}\"\n{id}\
             group_key_file = {:?}\n",
            stage.hub.mqtt_port, stage.hub.id_scope, self.key
        )
    }

    /// Returns the settings of the device with a certificate.
    fn certificate(&self) -> HostToml {
        let file = |end: &str| self.certificates.join(format!("{}{end}", Kind::X509.device()));
        let (certificate, key) = (file(".pem"), file("-key.pem"));
        HostToml {
            identity: format!(
                "[hub.identity]\ncertificate_file = {certificate:?}\nkey_file = {key:?}\n"
            ),
            ..HostToml::default()
        }
    }
}

/// Runs `behaviour-service` and returns its output.
fn service(stage: &Stage, arguments: &[&str]) -> anyhow::Result<String> {
    let output = stage
        .service()
        .args(arguments)
        .env("PROVISIONING_CONNECTION_STRING", &stage.hub.provisioning)
        .output()
        .context("cannot start `behaviour-service`")?;
    if !output.status.success() {
        bail!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Writes a file that only its owner can read.
fn private(path: &Path, text: &str) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

/// Returns the number of devices that `simulate` provisions and connects per second, from the
/// start of its process.
async fn provision_simulated(
    stage: &Stage,
    group: &Group,
    round: usize,
    size: usize,
) -> anyhow::Result<f64> {
    let folder = stage.folder.path();
    let toml = HostToml { identity: group.provisioning(stage, None), ..HostToml::default() };
    let file = folder.join("group.toml");
    fs::write(&file, toml.text(stage, folder))?;
    let prefix = format!("host-{round}-");
    let mut command = Command::new(&stage.programs.host);
    command.arg("simulate").arg("--config").arg(file).args(["--prefix", &prefix]);
    command.args(["--devices", &size.to_string(), "--rate", "100000"]);
    let started = Instant::now();
    let mut fleet = Process::start("group", folder, command)?;
    until_connected(stage, &mut [&mut fleet], &prefix, size).await?;
    let rate = size as f64 / started.elapsed().as_secs_f64();
    fleet.stop()?;
    Ok(rate)
}

/// Returns the same for the Python SDK, from the moment when all its processes have loaded it.
async fn provision_with_python(
    stage: &Stage,
    group: &Group,
    round: usize,
    size: usize,
) -> anyhow::Result<f64> {
    let folder = stage.folder.path();
    let prefix = format!("python-{round}-");
    let go = folder.join(format!("go-{round}"));
    let mut processes = Vec::new();
    for index in 0..PYTHON_PROCESSES {
        let mut command = Command::new(stage.programs.sdks()?.python);
        command.arg(devices().join("python_provisioning.py"));
        command.args([prefix.as_str(), &size.to_string()]);
        command.args([index.to_string(), PYTHON_PROCESSES.to_string()]);
        command.arg(&go);
        command.env("HUB_CONNECT_PORT", stage.hub.connect_port.to_string());
        command.env("HUB_CA_FILE", stage.hub.ca_file());
        command.env("PROVISIONING_IDSCOPE", &stage.hub.id_scope);
        command.env("GROUP_KEY", fs::read_to_string(&group.key)?.trim());
        processes.push(Process::start(&format!("python-{index}"), folder, command)?);
    }
    let started = Instant::now();
    while !processes.iter().all(|process| process.printed().contains("ready")) {
        if started.elapsed() > TIMEOUT {
            bail!("Python does not start within {TIMEOUT:?}: {}", processes[0].printed());
        }
        tokio::time::sleep(POLL).await;
    }
    let started = Instant::now();
    fs::write(&go, "")?;
    let mut all: Vec<&mut Process> = processes.iter_mut().collect();
    until_connected(stage, &mut all, &prefix, size).await?;
    Ok(size as f64 / started.elapsed().as_secs_f64())
}

/// Waits until every device with this prefix is connected.
async fn until_connected(
    stage: &Stage,
    processes: &mut [&mut Process],
    prefix: &str,
    size: usize,
) -> anyhow::Result<()> {
    let started = Instant::now();
    for number in 1..=size {
        let id: DeviceId = format!("{prefix}{number:04}").parse()?;
        // A device exists once it is provisioned.
        while !matches!(
            stage.hub.client.device(&id).await,
            Ok(device) if device.connection_state.as_deref() == Some("Connected")
        ) {
            for process in &mut *processes {
                process.check()?;
            }
            if started.elapsed() > TIMEOUT {
                bail!("{id} is not connected within {TIMEOUT:?}");
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Ok(())
}

/// Returns the time from the start of a host to its first answer, in milliseconds. A device
/// exists, and its call is pending, once it has started before.
async fn start(stage: &Stage, toml: &HostToml, kind: Kind) -> anyhow::Result<f64> {
    let mut connection = stage.invoker.connect().await?;
    let request = stage.echo(&kind.device());
    if !stage.host_folder(kind).join("compiled").exists() {
        drop(first_start(stage, toml, kind).await?);
    }
    let peer = stage.start(kind, toml).await?;
    connection.ask(&request).await?;
    Ok(peer.started.elapsed().as_secs_f64() * 1e3)
}

/// Starts a host for the first time, which compiles its plugin and may provision it.
async fn first_start(stage: &Stage, toml: &HostToml, kind: Kind) -> anyhow::Result<Peer> {
    let mut peer = stage.start(kind, toml).await?;
    until_exists(stage, &mut peer).await?;
    stage.invoker.connect().await?.ask(&stage.echo(&peer.device)).await?;
    Ok(peer)
}

async fn until_exists(stage: &Stage, peer: &mut Peer) -> anyhow::Result<()> {
    let (id, started): (DeviceId, _) = (peer.device.parse()?, Instant::now());
    while stage.hub.client.device(&id).await.is_err() {
        peer.process.check()?;
        if started.elapsed() > TIMEOUT {
            bail!("{id} does not exist within {TIMEOUT:?}");
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(())
}

/// Measures the memory of an idle host with a key, and of one with a certificate.
async fn memory(
    stage: &Stage,
    group: &Group,
    effort: Effort,
    found: &mut Found,
) -> anyhow::Result<()> {
    let with_key = first_start(stage, &HostToml::default(), Kind::Host).await?;
    let with_certificate = first_start(stage, &group.certificate(), Kind::X509).await?;
    // A host returns the memory of its start after a second.
    tokio::time::sleep(effort.time.max(Duration::from_secs(3))).await;
    let resident = |peer: &Peer| mib(peer.process.memory().resident_bytes);
    found.memory_key.push(resident(&with_key));
    found.memory_x509.push(resident(&with_certificate));
    Ok(())
}
