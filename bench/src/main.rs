//! Measures our programs side by side with what a user would pick instead, on
//! the same hub, the same wire and the same machine, in one run:
//! `cargo run --release -p bench -- all`.
//!
//! What is compared is measured in turn, round by round, and what counts are the
//! ratios inside a round: a slow or noisy machine makes them wide, not wrong.
//! The findings go to `docs/performance.md`, the plots to `docs/plots/`.

#![allow(clippy::print_stderr, reason = "this is a command-line program")]

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

mod bare_wasmtime;
mod extism;
mod goals;
mod hub;
mod invoker;
mod lent;
mod machine;
mod numbers;
mod peers;
mod plot;
mod process;
mod programs;
mod report;
mod sections;

use goals::Found;
use peers::{Kind, Stage};

/// Measures the programs of this workspace beside the official SDKs.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// What to measure
    #[arg(required = true)]
    sections: Vec<Section>,
    /// Short and rough, to look at; does not change the page
    #[arg(long)]
    quick: bool,
    /// How often everything is measured in turn
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,
    /// Only the host and the limit, without the SDKs, to look at what a change does
    #[arg(long, requires = "quick")]
    own: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// All that follow
    All,
    /// Devices beside one another: latency, throughput, processor time, memory
    Devices,
    /// The sandbox alone, beside bare wasmtime
    Sandbox,
    /// From the start of a device's process to its first answer
    Start,
    /// From a new component in its place to its first answer
    Swap,
    /// Many methods at once that sleep
    Sleepers,
    /// The hub with many devices, and the fleet that plays them
    Fleet,
    /// Our service beside the official one
    Service,
    /// The author's tool on each language's guest
    Languages,
    #[value(hide = true)]
    BareDevice,
}

/// How thorough a run is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    /// How long one load lasts.
    pub(crate) time: Duration,
    /// The device ends beside one another.
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
    let Arguments { sections, quick, rounds, own } = arguments;
    let wanted = |section| sections.contains(&section) || sections.contains(&Section::All);
    if sections.contains(&Section::BareDevice) {
        // In a task, whose thread polls the socket as well.
        return tokio::spawn(peers::bare::run()).await?;
    }
    let (usual, time) = if quick { (2, 500) } else { (5, 1200) };
    let effort = Effort {
        quick,
        rounds: rounds.unwrap_or(usual),
        time: Duration::from_millis(time),
        kinds: if own { &[Kind::Bare, Kind::Host] } else { &Kind::ALL },
    };
    let stage = Stage::set().await?;
    let mut goals = Found::default();
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
    if wanted(Section::Fleet) {
        sections::fleet::measure(&stage, effort, &mut goals).await?;
    }
    if wanted(Section::Service) {
        sections::service::measure(&stage, effort).await?;
    }
    if wanted(Section::Languages) {
        sections::languages::measure(&stage, effort).await?;
    }
    goals.put(quick)
}

/// Tells whoever waits how far it is.
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}
