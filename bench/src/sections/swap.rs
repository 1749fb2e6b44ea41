//! The time from the installation of a new component to the first answer of the new version,
//! while calls continue.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use plugin::{Engine, EngineSettings, PluginSettings};

use crate::goals::{Measure, Results};
use crate::invoker::{Connection, Request};
use crate::numbers::Rounds;
use crate::peers::{HostToml, Kind, Stage};
use crate::report::{self, Table};
use crate::versions::{digits, version};
use crate::{Effort, say};

/// The number of the first version. Version 1 is the probe itself, which the compile cache
/// may already contain.
const FIRST: usize = 100;

/// The time limit of one swap.
const SWAP_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let component = fs::read(&stage.programs.probe)?;
    let path = stage.folder.path().join("swapped.wasm");
    install(&path, &version(&component, FIRST)?)?;
    let toml = HostToml { component: Some(path.clone()), ..HostToml::default() };
    let mut peer = stage.ready(Kind::Host, &toml).await?;
    let request = stage.invoker.request(&peer.device, "version", "null");
    let mut connection = stage.invoker.connect().await?;

    let (mut new, mut cached, mut compile) =
        (Rounds::default(), Rounds::default(), Rounds::default());
    for round in 1..=effort.rounds {
        say(&format!("swap: round {round} of {}", effort.rounds));
        compile.push(compiled(&version(&component, 1_000_000 + round)?)?);
        new.push(swap(&mut connection, &request, &path, &component, FIRST + round).await?);
        cached.push(swap(&mut connection, &request, &path, &component, FIRST + round - 1).await?);
        peer.process.check()?;
    }
    goals.record(Measure::SwapNew, new.minus(&compile));
    goals.record(Measure::SwapCached, cached.clone());
    let mut table = Table::new(["new version", "in place to first answer, ms"]);
    let size = component.len() / 1024;
    table.row([format!("new, a component of {size} KiB"), new.spread().to_string()]);
    table.row(["in the compile cache".to_owned(), cached.spread().to_string()]);
    table.row(["for comparison: compiling it alone".to_owned(), compile.spread().to_string()]);
    report::publish("swap", &table.to_markdown(), effort.quick)
}

/// Installs a version and calls the plugin until this version answers. Returns the elapsed
/// milliseconds.
async fn swap(
    connection: &mut Connection,
    request: &Request,
    path: &Path,
    component: &[u8],
    number: usize,
) -> anyhow::Result<f64> {
    let component = version(component, number)?;
    let expected = digits(number);
    let started = Instant::now();
    install(path, &component)?;
    while !connection.ask(request).await?.contains(&expected) {
        if started.elapsed() > SWAP_TIMEOUT {
            bail!("version {number} did not answer within {SWAP_TIMEOUT:?}");
        }
    }
    Ok(started.elapsed().as_secs_f64() * 1e3)
}

/// Replaces a component atomically, as a deployment should.
fn install(path: &Path, component: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, component)?;
    Ok(fs::rename(temporary, path)?)
}

/// Compiles a component with an empty cache and returns the elapsed milliseconds.
pub(super) fn compiled(component: &[u8]) -> anyhow::Result<f64> {
    let cache = tempfile::tempdir()?;
    let settings =
        EngineSettings { cache: Some(cache.path().to_owned()), ..EngineSettings::default() };
    let engine = Engine::new(&settings)?;
    let started = Instant::now();
    engine.load("probe", component, PluginSettings::default())?;
    Ok(started.elapsed().as_secs_f64() * 1e3)
}
