//! Measures the programs of this workspace side by side with their alternatives, against
//! the same hub on the same machine, in one run: `cargo run --release -p bench -- all`.
//!
//! Each round measures all alternatives, and ratios are computed within a round. On a slow
//! or noisy machine, the ratios vary more but remain correct. The results are written to
//! `docs/performance.md`, and the plots to `docs/plots/`.

#![allow(clippy::print_stderr, reason = "this is a command-line program")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

mod bare_wasmtime;
mod certificate;
mod extism;
mod goals;
mod hub;
mod idle_devices;
mod invoker;
mod lent;
mod machine;
mod numbers;
mod peers;
mod plot;
mod process;
mod programs;
mod registry;
mod report;
mod sections;
mod simulation;
mod versions;

use goals::Results;
use peers::{Kind, Stage};

/// Measures the programs of this workspace next to the official SDKs.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// Sections to measure
    #[arg(required = true)]
    sections: Vec<Section>,
    /// Measure briefly and roughly, without changing the page
    #[arg(long)]
    quick: bool,
    /// Number of rounds
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Measure only the host and bare rumqttc, without the SDKs, to see the effect of a change
    #[arg(long, requires = "quick")]
    own: bool,
    /// Measure another build of the host in turn with this one, such as the last release
    #[arg(long, requires = "own", value_name = "PROGRAM")]
    against: Option<PathBuf>,
    /// Measure unoptimised builds, which are ready sooner. Only the pages of `identity` and
    /// `rollout` say so, so the others are not written
    #[arg(long)]
    unoptimised: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// All sections
    All,
    /// Devices side by side: latency, throughput, processor time, memory
    Devices,
    /// The sandbox alone, next to bare wasmtime
    Sandbox,
    /// From the start of a device's process to its first answer
    Start,
    /// From a new component in its place to its first answer
    Swap,
    /// Many methods that sleep at the same time
    Sleepers,
    /// Quick methods next to plugins that never stop computing
    Spinners,
    /// The hub with many devices, and the process that simulates them
    Fleet,
    /// A fleet that moves to a new version of a plugin, and broken versions
    Rollout,
    /// The profile `mqttV5` next to `classic`
    Profiles,
    /// Provisioning next to the official SDK, and the cost of an assignment and a certificate
    Identity,
    /// Calls of a host that is scraped or traced, and the push of a thousand series
    Metrics,
    /// The service of this project next to the official SDK
    Service,
    /// The author's tool with the guest of each language
    Languages,
    #[value(hide = true)]
    BareDevice,
}

/// The thoroughness of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
    /// `true` for builds that are not optimised.
    pub(crate) unoptimised: bool,
    pub(crate) rounds: usize,
    /// The duration of one load.
    pub(crate) time: Duration,
    /// The devices to measure.
    pub(crate) kinds: &'static [Kind],
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { sections, quick, rounds, own, against, unoptimised } = arguments;
    let wanted = |section| sections.contains(&section) || sections.contains(&Section::All);
    if sections.contains(&Section::BareDevice) {
        // The runtime polls the socket on its worker threads, so the device runs in a task and
        // not on the main thread.
        return tokio::spawn(peers::bare::run()).await?;
    }
    anyhow::ensure!(
        quick || !unoptimised || matches!(sections[..], [Section::Identity | Section::Rollout]),
        "only `identity` and `rollout` are written from unoptimised builds, alone; add --quick"
    );
    let (default_rounds, time) = if quick { (2, 500) } else { (5, 1200) };
    let effort = Effort {
        quick,
        unoptimised,
        rounds: rounds.unwrap_or(default_rounds),
        time: Duration::from_millis(time),
        kinds: match (own, &against) {
            (true, Some(_)) => &[Kind::Bare, Kind::Host, Kind::OtherHost],
            (true, None) => &[Kind::Bare, Kind::Host],
            (false, _) => &Kind::ALL,
        },
    };
    let stage = Stage::prepare(against, unoptimised).await?;
    let mut goals = Results::default();
    if wanted(Section::Devices) {
        sections::devices::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Sandbox) {
        sections::sandbox::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Start) {
        sections::start::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Swap) {
        sections::swap::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Sleepers) {
        sections::sleepers::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Spinners) {
        sections::spinners::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Fleet) {
        sections::fleet::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Rollout) {
        sections::rollout::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Profiles) {
        sections::profiles::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Identity) {
        sections::identity::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Metrics) {
        sections::metrics::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Service) {
        sections::service::measure(&stage, effort).await?;
    }
    if wanted(Section::Languages) {
        sections::languages::measure(&stage, effort).await?;
    }
    goals.publish(quick)
}

/// Prints a line of progress.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
