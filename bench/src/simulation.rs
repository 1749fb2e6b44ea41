//! A fleet of devices, simulated by `behaviour-host simulate`.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::peers::Stage;
use crate::process::Process;

/// The rate at which the devices connect.
const CONNECTIONS_PER_SECOND: u32 = 500;

/// The time limit for all devices to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(300);

/// Registers a fleet, starts it with this `host.toml`, and waits until all devices are connected.
/// Returns its process and the ids of its devices.
pub(crate) async fn start(
    stage: &Stage,
    size: usize,
    toml: &str,
) -> anyhow::Result<(Process, Vec<String>)> {
    let folder = stage.folder.path();
    let prefix = "fleet-";
    let output = stage
        .service()
        .args(["devices", "create", "--prefix", prefix, "--count", &size.to_string()])
        .output()
        .context("cannot start `behaviour-service`")?;
    if !output.status.success() {
        bail!(
            "`behaviour-service` did not create the devices: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let (identities, config) = (folder.join("devices.txt"), folder.join("fleet.toml"));
    let devices = ids(&String::from_utf8_lossy(&output.stdout));
    fs::write(&identities, output.stdout)?;
    fs::write(&config, toml)?;
    let mut command = Command::new(&stage.programs.host);
    command.arg("simulate").arg("--config").arg(config).arg("--identities").arg(identities);
    command.args(["--rate", &CONNECTIONS_PER_SECOND.to_string()]);
    let mut fleet = Process::start("fleet", folder, command)?;
    wait_until_connected(&mut fleet, size).await?;
    Ok((fleet, devices))
}

/// Returns the ids of the devices in lines of connection strings.
fn ids(identities: &str) -> Vec<String> {
    let id = |line: &str| Some(line.split_once("DeviceId=")?.1.split(';').next()?.to_owned());
    identities.lines().filter_map(id).collect()
}

async fn wait_until_connected(fleet: &mut Process, size: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    while !fleet.printed().contains(&format!("connected {size}/{size}")) {
        fleet.check()?;
        if started.elapsed() > CONNECT_TIMEOUT {
            bail!("the fleet did not connect within {CONNECT_TIMEOUT:?}: {}", fleet.printed());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
