//! The connection profile `mqttV5` next to `classic`: the same host with a certificate, and the
//! memory of a hub with many idle devices.

use protocol::mqtt5::ConnectionProfile;

use super::devices::{LoadResults, load};
use crate::goals::{Measure, Results};
use crate::idle_devices;
use crate::numbers::{Rounds, mib, short};
use crate::peers::{HostToml, Stage};
use crate::report::{self, Table};
use crate::{Effort, say};

const PROFILES: [ConnectionProfile; 2] = [ConnectionProfile::Classic, ConnectionProfile::MqttV5];

/// The numbers of calls in flight.
const IN_FLIGHT: [usize; 2] = [1, 32];

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let mut peers = Vec::new();
    for profile in PROFILES {
        let toml = HostToml { profile: Some(profile), ..HostToml::default() };
        peers.push(stage.ready_with_certificate(&format!("host-{profile}"), &toml).await?);
    }
    let mut found: [[LoadResults; 2]; 2] = Default::default();
    for round in 1..=effort.rounds {
        say(&format!("profiles: round {round} of {}", effort.rounds));
        for (index, in_flight) in IN_FLIGHT.into_iter().enumerate() {
            for (peer, found) in peers.iter_mut().zip(&mut found) {
                load(stage, effort, peer, &mut found[index], in_flight).await?;
            }
        }
    }
    drop(peers);
    let count = if effort.quick { 500 } else { 5_000 };
    let memory = hub_memory(stage, count, if effort.quick { 1 } else { 3 }).await?;

    let [classic, mqtt5] = &found;
    let ratios = [
        (Measure::Mqtt5RoundTrip, mqtt5[0].p50.over(&classic[0].p50)),
        (Measure::Mqtt5Methods, mqtt5[1].per_second.over(&classic[1].per_second)),
        (Measure::Mqtt5Processor, mqtt5[1].processor.over(&classic[1].processor)),
        (Measure::Mqtt5HubMemory, memory[1].over(&memory[0])),
    ];
    for (measure, rounds) in ratios {
        goals.record(measure, rounds);
    }
    report::publish("profiles", &text(&found, &memory, count), effort.quick)
}

/// Returns the memory of a hub with idle devices of each profile, in MiB. Each hub is fresh, since
/// one that has served other devices holds freed memory.
async fn hub_memory(stage: &Stage, count: usize, rounds: usize) -> anyhow::Result<[Rounds; 2]> {
    let mut memory = [Rounds::default(), Rounds::default()];
    for _ in 0..rounds {
        for (profile, memory) in PROFILES.into_iter().zip(&mut memory) {
            say(&format!("profiles: {count} idle devices of {profile}"));
            let stage = stage.with_new_hub().await?;
            let _sockets = idle_devices::connect(&stage.hub, profile, count).await?;
            memory.push(mib(stage.hub.process.memory().resident_bytes));
        }
    }
    Ok(memory)
}

fn text(found: &[[LoadResults; 2]; 2], memory: &[Rounds; 2], count: usize) -> String {
    let headings = ["profile", "in flight", "calls/s", "p50 µs", "p99 µs", "host CPU µs per call"];
    let mut calls = Table::new(headings);
    for (profile, found) in PROFILES.into_iter().zip(found) {
        for (loaded, in_flight) in found.iter().zip(IN_FLIGHT) {
            calls.row([
                profile.to_string(),
                in_flight.to_string(),
                loaded.per_second.spread().to_string(),
                loaded.p50.spread().to_string(),
                loaded.p99.spread().to_string(),
                loaded.processor.spread().to_string(),
            ]);
        }
    }
    let mut hubs = Table::new(["profile", "hub RSS MiB", "KiB per device"]);
    for (profile, memory) in PROFILES.into_iter().zip(memory) {
        let each = memory.map(|mib| mib * 1024.0 / count as f64);
        hubs.row([profile.to_string(), memory.spread().to_string(), short(each.median())]);
    }
    format!(
        "A method takes two messages with `classic`, and four with `mqttV5`.\n\n{}\nA fresh hub with {count} idle devices:\n\n{}",
        calls.to_markdown(),
        hubs.to_markdown()
    )
}
