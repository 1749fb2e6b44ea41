//! From a new component in its place to the first answer by the new version,
//! while calls go on.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use plugin::{Engine, EngineSettings, PluginSettings};

use crate::goals::{Found as Goals, Measure};
use crate::invoker::{Line, Request};
use crate::numbers::Rounds;
use crate::peers::{HostToml, Kind, Stage};
use crate::report::{self, Table};
use crate::{Effort, say};

/// What `bench/probe` answers to `version`.
const VERSION: &str = "probe-version-";
const DIGITS: usize = 8;

/// Versions are counted from here: the compile cache may hold the probe as it was
/// built, which is version 1.
const FIRST: usize = 100;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Goals,
) -> anyhow::Result<()> {
    let component = fs::read(&stage.programs.probe)?;
    let place = stage.folder.path().join("swapped.wasm");
    put(&place, &version(&component, FIRST)?)?;
    let toml = HostToml { component: Some(place.clone()), ..HostToml::default() };
    let mut peer = stage.ready(Kind::Host, &toml).await?;
    let request = stage.invoker.request(&peer.device, "version", "null");
    let mut line = stage.invoker.connect().await?;

    let (mut unseen, mut seen, mut compile) =
        (Rounds::default(), Rounds::default(), Rounds::default());
    for round in 1..=effort.rounds {
        say(&format!("swap: round {round} of {}", effort.rounds));
        compile.push(compiled(&version(&component, 1_000_000 + round)?)?);
        unseen.push(swap(&mut line, &request, &place, &component, FIRST + round).await?);
        seen.push(swap(&mut line, &request, &place, &component, FIRST + round - 1).await?);
        peer.process.check()?;
    }
    goals.note(Measure::SwapUnseen, unseen.minus(&compile));
    goals.note(Measure::SwapSeen, seen.clone());
    let mut table = Table::new(["new version", "in place to first answer, ms"]);
    let size = component.len() / 1024;
    table.row([format!("never seen, a component of {size} KiB"), unseen.spread().to_string()]);
    table.row(["in the compile cache".to_owned(), seen.spread().to_string()]);
    table.row(["for comparison: compiling it alone".to_owned(), compile.spread().to_string()]);
    report::put("swap", &table.to_markdown(), effort.quick)
}

/// Puts a version in place, and asks until it answers; gives milliseconds.
async fn swap(
    line: &mut Line,
    request: &Request,
    place: &Path,
    component: &[u8],
    number: usize,
) -> anyhow::Result<f64> {
    let new = version(component, number)?;
    let expected = digits(number);
    let begun = Instant::now();
    put(place, &new)?;
    while !line.ask(request).await?.contains(&expected) {
        if begun.elapsed() > PATIENCE {
            bail!("version {number} does not take over");
        }
    }
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}

/// Whole or not at all, as a careful deployment does it.
fn put(place: &Path, component: &[u8]) -> anyhow::Result<()> {
    let beside = place.with_extension("new");
    fs::write(&beside, component)?;
    Ok(fs::rename(beside, place)?)
}

/// The probe with another number in it: other bytes, the same work.
fn version(component: &[u8], number: usize) -> anyhow::Result<Vec<u8>> {
    let mut component = component.to_owned();
    let found = component.windows(VERSION.len()).position(|bytes| bytes == VERSION.as_bytes());
    let at = found.context("the probe has no version in it")? + VERSION.len();
    component[at..at + DIGITS].copy_from_slice(digits(number).as_bytes());
    Ok(component)
}

fn digits(number: usize) -> String {
    format!("{number:0DIGITS$}")
}

/// How long an engine takes that has never seen it, in milliseconds.
fn compiled(component: &[u8]) -> anyhow::Result<f64> {
    let cache = tempfile::tempdir()?;
    let settings =
        EngineSettings { cache: Some(cache.path().to_owned()), ..EngineSettings::default() };
    let engine = Engine::new(&settings)?;
    let begun = Instant::now();
    engine.load("probe", component, PluginSettings::default())?;
    Ok(begun.elapsed().as_secs_f64() * 1e3)
}
