//! Thousands of devices on one hub, simulated by `behaviour-host simulate`. Measures the
//! cost of a device for the hub and for the fleet, and the throughput of method calls to all
//! devices.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::goals::{Measure, Results};
use crate::invoker::Invoker;
use crate::numbers::{mb, mib, short};
use crate::peers::{HostToml, Stage};
use crate::process::Process;
use crate::report::{self, Table};
use crate::{Effort, say};

/// The rate at which the devices connect.
const CONNECTIONS_PER_SECOND: u32 = 500;

/// The period in which the processor time of an idle fleet is measured. Each device sends
/// one ping in this period, since the default keep-alive is a minute and devices ping twice
/// in that time.
const IDLE_PERIOD: Duration = Duration::from_secs(30);

/// The time limit for all devices to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(300);

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let sizes: &[usize] = if effort.quick { &[200] } else { &[2_000, 5_000] };
    let headings = [
        "devices",
        "hub RSS MiB",
        "fleet RSS MiB",
        "hub KiB per device",
        "fleet KiB per device",
        "hub CPU %, idle",
        "fleet CPU %, idle",
        "calls/s, 32 in flight",
    ];
    let mut table = Table::new(headings);
    for &size in sizes {
        say(&format!("fleet: {size} devices"));
        // A hub that has served an earlier fleet holds freed memory. New devices would reuse
        // it, and the growth would be too small.
        let stage = &stage.with_new_hub().await?;
        let hub_before = stage.hub.process.memory().resident_bytes;
        let (mut fleet, devices) = start(stage, size)?;
        wait_until_connected(&mut fleet, size).await?;
        let hub_memory = stage.hub.process.memory();
        let fleet_memory = fleet.memory();
        let (hub_time, fleet_time) = (stage.hub.process.processor_time(), fleet.processor_time());
        tokio::time::sleep(IDLE_PERIOD).await;
        let hub_idle = stage.hub.process.processor_time() - hub_time;
        let fleet_idle = fleet.processor_time() - fleet_time;

        let requests: Arc<[_]> = devices.iter().map(|device| stage.echo(device)).collect();
        let mut connections = stage.invoker.connections(32).await?;
        let load = Invoker::load(&mut connections, &requests, effort.time * 2).await?;
        let kib_per_device = |bytes: u64| short(bytes as f64 / 1024.0 / size as f64);
        let percent =
            |time: Duration| short(100.0 * time.as_secs_f64() / IDLE_PERIOD.as_secs_f64());
        table.row([
            size.to_string(),
            short(mib(hub_memory.resident_bytes)),
            short(mib(fleet_memory.resident_bytes)),
            kib_per_device(hub_memory.resident_bytes.saturating_sub(hub_before)),
            kib_per_device(fleet_memory.resident_bytes),
            percent(hub_idle),
            percent(fleet_idle),
            short(load.per_second()),
        ]);
        if let Some((measure, memory)) = match size {
            2_000 => Some((Measure::FleetMemory, fleet_memory)),
            5_000 => Some((Measure::HubMemory, hub_memory)),
            _ => None,
        } {
            goals.record(measure, [mb(memory.resident_bytes)].into_iter().collect());
        }
        fleet.stop()?;
    }
    report::publish("fleet", &table.to_markdown(), effort.quick)
}

/// Registers a fleet and starts it. Returns its process and the ids of its devices.
fn start(stage: &Stage, size: usize) -> anyhow::Result<(Process, Vec<String>)> {
    let folder = stage.folder.path();
    let prefix = "fleet-";
    let output = Command::new(&stage.programs.service)
        .args(["devices", "create", "--prefix", prefix, "--count", &size.to_string()])
        .env("IOTHUB_CONNECTION_STRING", stage.hub.service.to_text_with_key())
        .env("IOTHUB_CA_FILE", stage.hub.ca_file())
        .output()
        .context("cannot start `behaviour-service`")?;
    if !output.status.success() {
        bail!(
            "`behaviour-service` did not create the devices: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let identities = folder.join("devices.txt");
    fs::write(&identities, output.stdout)?;
    let toml = folder.join("fleet.toml");
    fs::write(&toml, HostToml::default().text(stage, stage.folder.path()))?;
    let mut command = Command::new(&stage.programs.host);
    command.arg("simulate").arg("--config").arg(toml).arg("--identities").arg(identities);
    command.args(["--rate", &CONNECTIONS_PER_SECOND.to_string()]);
    let devices = (1..=size).map(|number| format!("{prefix}{number:04}")).collect();
    Ok((Process::start("fleet", folder, command)?, devices))
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
