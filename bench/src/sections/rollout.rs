//! A fleet that moves to a new version of a plugin from a registry, next to a script; one host
//! that does so; and broken versions.
//!
//! The registry, the hub, the devices and the calls share the machine.

use crate::goals::{Measure, Results};
use crate::numbers::{Rounds, short};
use crate::peers::Stage;
use crate::registry::Registry;
use crate::report::{self, Table};
use crate::{Effort, say, simulation};
use broken::{Fault, Stopped};
use images::{Image, Publication, Publisher, host_toml, tables};
use moves::Move;
use one_host::{Idle, OneHost};

mod broken;
mod calls;
mod images;
mod moves;
mod one_host;
mod reports;
mod script;

/// The number of simulated devices to which the goals refer.
const DEVICES: usize = 10_000;

/// The minimum number of idle hosts of each kind. In some rounds, a host returns several MiB more
/// to the system than in others.
const IDLE_ROUNDS: usize = 7;

/// The number of devices of the script.
const SCRIPTED: usize = 20;

/// The number of the first version of the script and of the single host, beyond those of the fleet.
const FIRST: usize = 1000;

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let registry = Registry::start(&stage.programs, stage.folder.path()).await?;
    let publisher = Publisher::create(stage, &registry)?;
    say("rollout: one host");
    let one = one_host::measure(stage, &registry, &publisher, effort.rounds, FIRST).await?;
    goals.record(Measure::RolloutOneHost, one.moved.over(&one.alone));
    say("rollout: idle hosts");
    let rounds = if effort.quick { effort.rounds } else { effort.rounds.max(IDLE_ROUNDS) };
    let idle = one_host::memory(stage, &registry, &publisher, rounds).await?;
    goals.record(Measure::FleetOffMemory, idle.off.over(&idle.plain));
    goals.record(Measure::FleetIdleMemory, idle.on.minus(&idle.off));
    say("rollout: a script");
    let script = script::measure(stage, &publisher, SCRIPTED, FIRST).await?;

    let fleet = Fleet::measure(stage, &registry, &publisher, effort).await?;
    let each = script.median() * fleet.devices as f64;
    if fleet.devices == DEVICES {
        goals.record(Measure::Rollout, one_number(fleet.moved.seconds));
        goals.record(Measure::RolloutOverScript, one_number(each / fleet.moved.seconds));
    }
    goals.record(Measure::RolloutLost, one_number(fleet.moved.lost as f64));
    goals.record(Measure::RolloutWrong, one_number(fleet.moved.wrong as f64));
    let broken = |number: fn(&Stopped) -> f64| -> Rounds {
        one_number(fleet.broken.iter().map(|(_, found)| number(found)).fold(0.0, f64::max))
    };
    goals.record(Measure::BrokenBeyond, broken(|it| it.beyond as f64));
    goals.record(Measure::BrokenInForce, broken(|it| it.in_force));
    goals.record(Measure::BrokenBack, broken(|it| it.back));
    goals.record(Measure::BrokenLost, broken(|it| it.lost as f64));
    let text = [move_table(&fleet, &script), broken_table(&fleet), host_table(&one, &idle)];
    let builds = if effort.unoptimised { "Unoptimised builds.\n\n" } else { "" };
    report::publish("rollout", &(builds.to_owned() + &text.join("\n")), effort.quick)
}

fn one_number(number: f64) -> Rounds {
    [number].into_iter().collect()
}

/// The results of a fleet.
struct Fleet {
    devices: usize,
    moved: Move,
    broken: Vec<(Fault, Stopped)>,
}

impl Fleet {
    async fn measure(
        stage: &Stage,
        registry: &Registry,
        publisher: &Publisher<'_>,
        effort: Effort,
    ) -> anyhow::Result<Fleet> {
        let size = match effort {
            Effort { quick: true, .. } => 500,
            Effort { unoptimised: true, .. } => 1000,
            _ => DEVICES,
        };
        say(&format!("rollout: {size} devices"));
        let publish = |release| publisher.publish(release, &Publication::default());
        let images: [Image; 2] = [publish(1)?, publish(2)?];
        // A hub of its own has only the devices of the fleet.
        let stage = &stage.with_new_hub().await?;
        let toml =
            host_toml(stage, stage.folder.path(), &tables(registry, publisher.public_key(), None));
        let (mut fleet, ids) = simulation::start(stage, size, &toml).await?;
        moves::first(stage, size, &images[0]).await?;
        let moved = moves::measure(stage, &fleet, &ids, &images[1], 2).await?;
        say(&format!("rollout: all devices after {:.1} s", moved.seconds));
        let mut broken = Vec::new();
        for (release, fault) in (3..).zip(Fault::ALL) {
            say(&format!("rollout: a broken version: {}", fault.name()));
            let before = (&images[1], 2);
            let stopped = broken::measure(stage, registry, publisher, before, fault, release);
            broken.push((fault, stopped.await?));
            fleet.check()?;
        }
        fleet.stop()?;
        Ok(Fleet { devices: size, moved, broken })
    }
}

fn move_table(fleet: &Fleet, script: &Rounds) -> String {
    let Fleet { devices, moved, .. } = fleet;
    let mut table = Table::new(["move of a fleet", "measured"]);
    let mut row = |what: &str, measured: String| table.row([what.to_owned(), measured]);
    row("devices", devices.to_string());
    row("half of the devices report the new version, s", short(moved.half));
    row("all devices report it, s", short(moved.seconds));
    row("calls meanwhile", moved.calls.to_string());
    row("calls lost", moved.lost.to_string());
    row("calls answered by another version after the report", moved.wrong.to_string());
    row("99 % of the calls took at most, ms", short(moved.p99));
    row("processor time of the hub, s", short(moved.hub.as_secs_f64()));
    row("processor time of `simulate`, s", short(moved.fleet.as_secs_f64()));
    row("a script, s for each device", script.spread().to_string());
    row("a script, s for all devices", short(script.median() * *devices as f64));
    table.to_markdown()
}

fn broken_table(fleet: &Fleet) -> String {
    let headings = [
        "broken version",
        "devices of the first wave",
        "devices beyond it",
        "reported reasons",
        "first to last failure, s",
        "longest time in force, s",
        "`rollout back` to last report, s",
        "calls",
        "calls lost",
    ];
    let mut table = Table::new(headings);
    for (fault, found) in &fleet.broken {
        table.row([
            fault.name().to_owned(),
            found.wave.to_string(),
            found.beyond.to_string(),
            found.reasons.clone(),
            short(found.failing),
            short(found.in_force),
            short(found.back),
            found.calls.to_string(),
            found.lost.to_string(),
        ]);
    }
    table.to_markdown()
}

fn host_table(one: &OneHost, idle: &Idle) -> String {
    let mut table = Table::new(["one host", "measured"]);
    let mut row =
        |what: &str, rounds: &Rounds| table.row([what.to_owned(), rounds.spread().to_string()]);
    row("desired image to its first answer, ms", &one.moved);
    row("fetching, verifying and compiling it alone, ms", &one.alone);
    row("idle RSS without registries, MiB", &idle.plain);
    row("idle RSS with `[host.registry]` and `[host.trust]`, MiB", &idle.off);
    row("idle RSS with `[fleet]` as well, MiB", &idle.on);
    table.to_markdown()
}
