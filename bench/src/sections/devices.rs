//! Comparison of devices that answer the same method, with one to many calls in flight.

use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use crate::goals::{Measure, Results};
use crate::invoker::Invoker;
use crate::numbers::{Rounds, mb, mib};
use crate::peers::{HostToml, Kind, Peer, Stage};
use crate::plot::Plot;
use crate::report::{self, Table};
use crate::{Effort, say};

/// The numbers of calls in flight.
const IN_FLIGHT: [usize; 4] = [1, 8, 32, 128];

/// Time for `perf` to start.
const PERF_START: Duration = Duration::from_millis(100);

/// The file name and the title of each plot.
const PLOTS: [(&str, &str); 3] = [
    ("methods-a-second", "Direct methods a second"),
    ("method-time", "Time of a direct method, service to device and back"),
    ("memory", "Memory of a device"),
];

/// The results of one device.
struct DeviceResults {
    kind: Kind,
    /// The results for each of [`IN_FLIGHT`].
    loads: [LoadResults; IN_FLIGHT.len()],
    idle_rss: f64,
    idle_pss: f64,
    loaded_rss: f64,
    loaded_pss: f64,
}

/// The results for one number of calls in flight.
#[derive(Default)]
pub(super) struct LoadResults {
    pub(super) per_second: Rounds,
    /// Median latency in microseconds.
    pub(super) p50: Rounds,
    /// 99th percentile of the latency in microseconds.
    pub(super) p99: Rounds,
    /// Processor time of the device, in microseconds per call.
    pub(super) processor: Rounds,
    /// Processor time of the hub, in microseconds per call.
    hub_processor: Rounds,
    /// System calls, page faults and context switches of the device, for each call.
    system_calls: Rounds,
    page_faults: Rounds,
    switches: Rounds,
}

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let toml = HostToml::default();
    let mut peers = Vec::new();
    // The first start fills the compile cache with the host's plugin.
    drop(stage.ready(Kind::Host, &toml).await?);
    for &kind in effort.kinds {
        peers.push((kind, stage.ready(kind, &toml).await?));
    }
    // All processes run before the first is measured, since they share memory pages.
    tokio::time::sleep(effort.time).await;
    let mut found = Vec::new();
    for (kind, peer) in &peers {
        let idle = peer.process.memory();
        let (idle_rss, idle_pss) = (mib(idle.resident_bytes), mib(idle.proportional_bytes));
        let (kind, loads) = (*kind, Default::default());
        found.push(DeviceResults {
            kind,
            loads,
            idle_rss,
            idle_pss,
            loaded_rss: 0.0,
            loaded_pss: 0.0,
        });
    }
    for round in 1..=effort.rounds {
        say(&format!("devices: round {round} of {}", effort.rounds));
        for (index, in_flight) in IN_FLIGHT.into_iter().enumerate() {
            for ((_, peer), found) in peers.iter_mut().zip(&mut found) {
                load(stage, effort, peer, &mut found.loads[index], in_flight).await?;
            }
        }
    }
    for ((_, peer), found) in peers.iter().zip(&mut found) {
        let memory = peer.process.memory();
        found.loaded_rss = mib(memory.resident_bytes);
        found.loaded_pss = mib(memory.proportional_bytes);
    }
    record(&found, goals);
    report::publish("devices", &text(&found), effort.quick)?;
    plots(&found, effort.quick)
}

/// Measures one load on a device.
pub(super) async fn load(
    stage: &Stage,
    effort: Effort,
    peer: &mut Peer,
    found: &mut LoadResults,
    in_flight: usize,
) -> anyhow::Result<()> {
    let requests = Arc::from([stage.echo(&peer.device)]);
    // The hub closes idle connections, so they are opened immediately before their use.
    let mut connections = stage.invoker.connections(in_flight).await?;
    Invoker::load(&mut connections, &requests, effort.time / 5).await?;
    let events = peer.process.events();
    let before = (peer.process.processor_time(), stage.hub.process.processor_time());
    let load = Invoker::load(&mut connections, &requests, effort.time).await?;
    let spent = peer.process.processor_time() - before.0;
    let spent_by_hub = stage.hub.process.processor_time() - before.1;
    let after = peer.process.events();
    // Counted under a separate load, because counting takes processor time.
    let system_calls = peer.process.count_system_calls();
    tokio::time::sleep(PERF_START).await;
    let counted = Invoker::load(&mut connections, &requests, effort.time / 5).await?;
    if let Some(system_calls) = system_calls.end() {
        found.system_calls.push(system_calls as f64 / counted.times.count() as f64);
    }
    peer.process.check()?;
    found.per_second.push(load.per_second());
    found.p50.push(load.times.micros(0.5));
    found.p99.push(load.times.micros(0.99));
    let each = |time: Duration| time.as_secs_f64() * 1e6 / load.times.count() as f64;
    found.processor.push(each(spent));
    found.hub_processor.push(each(spent_by_hub));
    let each =
        |before: u64, after: u64| after.saturating_sub(before) as f64 / load.times.count() as f64;
    found.page_faults.push(each(events.page_faults, after.page_faults));
    found.switches.push(each(events.switches, after.switches));
    Ok(())
}

fn record(found: &[DeviceResults], goals: &mut Results) {
    let [one, _, thirty_two, _] = &find(found, Kind::Host).loads;
    let bare = &find(found, Kind::Bare).loads;
    goals.record(Measure::RoundTrip, one.p50.over(&bare[0].p50));
    let processor = &thirty_two.processor;
    goals.record(Measure::ProcessorOverBare, processor.over(&bare[2].processor));
    if let Some(node) = found.iter().find(|found| found.kind == Kind::Node) {
        goals.record(Measure::ProcessorOverNode, processor.over(&node.loads[2].processor));
    }
    if !thirty_two.system_calls.is_empty() {
        goals.record(Measure::SystemCalls, thirty_two.system_calls.clone());
    }
    for (measure, kind) in [
        (Measure::OverNode, Kind::Node),
        (Measure::OverPythonAsync, Kind::PythonAsync),
        (Measure::OverPythonSync, Kind::PythonSync),
    ] {
        if let Some(other) = found.iter().find(|found| found.kind == kind) {
            goals.record(measure, thirty_two.per_second.over(&other.loads[2].per_second));
        }
    }
    let idle = find(found, Kind::Host).idle_rss * mb(1 << 20);
    goals.record(Measure::IdleMemory, [idle].into_iter().collect());
    goals.record(Measure::HubMethods, bare[2].per_second.clone());
    let cores = available_parallelism().map_or(1, usize::from) as f64;
    goals.record(Measure::HubProcessor, bare[2].hub_processor.map(|micros| cores * 1e6 / micros));
}

fn text(found: &[DeviceResults]) -> String {
    let headings = ["device", "in flight", "calls/s", "p50 µs", "p99 µs", "CPU µs per call"];
    let mut calls = Table::new(headings);
    for found in found {
        for (loaded, in_flight) in found.loads.iter().zip(IN_FLIGHT) {
            calls.row([
                found.kind.name().to_owned(),
                in_flight.to_string(),
                loaded.per_second.spread().to_string(),
                loaded.p50.spread().to_string(),
                loaded.p99.spread().to_string(),
                loaded.processor.spread().to_string(),
            ]);
        }
    }
    let mut ratios =
        Table::new(["behaviour-host against", "in flight", "calls/s", "p50", "processor"]);
    let host = find(found, Kind::Host);
    for other in found.iter().filter(|found| found.kind != Kind::Host) {
        for (index, in_flight) in IN_FLIGHT.into_iter().enumerate() {
            let (own, other_load) = (&host.loads[index], &other.loads[index]);
            ratios.row([
                other.kind.name().to_owned(),
                in_flight.to_string(),
                own.per_second.over(&other_load.per_second).spread().to_string(),
                own.p50.over(&other_load.p50).spread().to_string(),
                own.processor.over(&other_load.processor).spread().to_string(),
            ]);
        }
    }
    let headings = ["device", "in flight", "system calls", "page faults", "context switches"];
    let mut counts = Table::new(headings);
    for found in found {
        for (loaded, in_flight) in found.loads.iter().zip(IN_FLIGHT) {
            let system_calls = match loaded.system_calls.count() {
                0 => "–".to_owned(),
                _ => loaded.system_calls.spread().to_string(),
            };
            counts.row([
                found.kind.name().to_owned(),
                in_flight.to_string(),
                system_calls,
                loaded.page_faults.spread().to_string(),
                loaded.switches.spread().to_string(),
            ]);
        }
    }
    let mut memory =
        Table::new(["device", "RSS idle MiB", "PSS idle MiB", "RSS loaded MiB", "PSS loaded MiB"]);
    for found in found {
        let DeviceResults { kind, idle_rss, idle_pss, loaded_rss, loaded_pss, .. } = found;
        let numbers = [idle_rss, idle_pss, loaded_rss, loaded_pss];
        let numbers = numbers.map(|number| crate::numbers::short(*number));
        memory.row([&[kind.name().to_owned()], &numbers[..]].concat());
    }
    format!(
        "Medians over {} rounds, with the minimum and the maximum.\n\n{}\nRatios inside each round:\n\n{}\nCounted for each call:\n\n{}\n{}\n{}",
        found[0].loads[0].p50.count(),
        calls.to_markdown(),
        ratios.to_markdown(),
        counts.to_markdown(),
        memory.to_markdown(),
        PLOTS.map(|(name, title)| format!("![{title}](plots/{name}.svg)")).join("\n\n")
    )
}

fn find(found: &[DeviceResults], kind: Kind) -> &DeviceResults {
    found.iter().find(|found| found.kind == kind).expect("every kind was measured")
}

fn plots(found: &[DeviceResults], quick: bool) -> anyhow::Result<()> {
    let series: Vec<String> = found.iter().map(|found| found.kind.name().to_owned()).collect();
    let groups = |number: fn(&LoadResults) -> f64| {
        let group = |(index, in_flight): (usize, usize)| {
            let bars = found.iter().map(|found| number(&found.loads[index])).collect();
            (format!("{in_flight} in flight"), bars)
        };
        IN_FLIGHT.into_iter().enumerate().map(group).collect()
    };
    Plot {
        title: PLOTS[0].1,
        unit: "calls a second, more is better",
        logarithmic: true,
        series: series.clone(),
        groups: groups(|loaded| loaded.per_second.median()),
    }
    .write(PLOTS[0].0, quick)?;
    Plot {
        title: PLOTS[1].1,
        unit: "median in microseconds, less is better",
        logarithmic: true,
        series: series.clone(),
        groups: groups(|loaded| loaded.p50.median()),
    }
    .write(PLOTS[1].0, quick)?;
    let memory = [
        ("RSS idle", found.iter().map(|found| found.idle_rss).collect()),
        ("RSS loaded", found.iter().map(|found| found.loaded_rss).collect()),
    ];
    Plot {
        title: PLOTS[2].1,
        unit: "MiB, less is better",
        logarithmic: false,
        series,
        groups: memory.map(|(name, bars)| (name.to_owned(), bars)).into(),
    }
    .write(PLOTS[2].0, quick)
}
