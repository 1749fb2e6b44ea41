//! Thousands of devices on one hub, simulated by `behaviour-host simulate`. Measures the
//! cost of a device for the hub and for the fleet, and the throughput of method calls to all
//! devices.

use std::sync::Arc;
use std::time::Duration;

use crate::goals::{Measure, Results};
use crate::invoker::Invoker;
use crate::numbers::{mb, mib, short};
use crate::peers::{HostToml, Stage};
use crate::report::{self, Table};
use crate::{Effort, say, simulation};

/// The period in which the processor time of an idle fleet is measured. Each device sends
/// one ping in this period, since the default keep-alive is a minute and devices ping twice
/// in that time.
const IDLE_PERIOD: Duration = Duration::from_secs(30);

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
        let toml = HostToml::default().text(stage, stage.folder.path());
        let (fleet, devices) = simulation::start(stage, size, &toml).await?;
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
