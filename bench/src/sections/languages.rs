//! The reboot guest in each language. Measures building it with the author's tool, compiling
//! it, and calling it in fresh instances.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use behaviour::cases::{self, Case};
use behaviour::{BuildOptions, Language};
use plugin::{Compiled, Engine, EngineSettings, Limits};

use crate::numbers::{Rounds, Times};
use crate::peers::Stage;
use crate::programs::workspace;
use crate::report::{self, Table};
use crate::{Effort, say};

/// The number of calls of one round, whose median is the result.
const CALLS: usize = 50;

/// The maximum number of rounds, since compiling CPython takes seconds.
const MAX_ROUNDS: usize = 3;

/// The results of one language's guest.
#[derive(Default)]
struct GuestResults {
    component_bytes: usize,
    /// The time of a repeated build, in seconds.
    build: Rounds,
    /// The time to compile with an empty cache, in milliseconds.
    compiled: Rounds,
    /// The time to load from the compile cache, in milliseconds.
    cached: Rounds,
    /// The time of a call of an unknown method, in milliseconds.
    refusal: Rounds,
    /// The real time of the complete tutorial in virtual time, in milliseconds.
    reboot: Rounds,
}

pub(crate) async fn measure(stage: &Stage, effort: Effort) -> anyhow::Result<()> {
    let tools = stage.programs.tools();
    // Building and calling block the thread, and create separate runtimes.
    let text = tokio::task::spawn_blocking(move || table(&tools, effort)).await??;
    report::publish("languages", &text, effort.quick)
}

fn table(tools: &Path, effort: Effort) -> anyhow::Result<String> {
    let headings = [
        "language",
        "component KB",
        "rebuild s",
        "compile ms",
        "load from cache ms",
        "refusal ms",
        "reboot ms",
    ];
    let mut table = Table::new(headings);
    for language in Language::ALL {
        say(&format!("languages: {language}"));
        let found = match guest(language, tools, effort.rounds.min(MAX_ROUNDS)) {
            Ok(found) => found,
            Err(error) => {
                say(&format!("languages: without {language}: {error:#}"));
                let nothing = ["–"; 6].map(str::to_owned);
                table.row([language.to_string()].into_iter().chain(nothing));
                continue;
            }
        };
        table.row([
            language.to_string(),
            format!("{:.0}", found.component_bytes as f64 / 1000.0),
            found.build.spread().to_string(),
            found.compiled.spread().to_string(),
            found.cached.spread().to_string(),
            found.refusal.spread().to_string(),
            found.reboot.spread().to_string(),
        ]);
    }
    Ok(table.to_markdown())
}

fn guest(language: Language, tools: &Path, rounds: usize) -> anyhow::Result<GuestResults> {
    let progress = |line: &str| say(&format!("languages: {line}"));
    let options = BuildOptions {
        cache_dir: Some(tools.to_owned()),
        progress: &progress,
        ..BuildOptions::default()
    };
    behaviour::setup(language, &options)?;
    let folder = match language {
        Language::Rust => workspace().join("guest-reboot"),
        _ => workspace().join("examples").join(language.name()),
    };
    let cases = cases::find(&workspace().join("examples/cases"))?;
    let case = |name: &str| {
        let found = cases.iter().find(|found| found.name == name);
        let found = found.with_context(|| format!("no case {name} in examples/cases"))?;
        found.case.as_ref().map_err(|error| anyhow::Error::msg(error.to_string()))
    };
    // The first build may download or compile dependencies, so it is not measured.
    let path = behaviour::build(&folder, &options)?.path;
    let bytes = fs::read(path)?;
    let mut found = GuestResults { component_bytes: bytes.len(), ..GuestResults::default() };
    for _ in 0..rounds {
        let started = Instant::now();
        behaviour::build(&folder, &options)?;
        found.build.push(started.elapsed().as_secs_f64());

        let cache = tempfile::tempdir()?;
        let (_, uncached) = compiled(&bytes, cache.path())?;
        found.compiled.push(milliseconds(uncached));
        let ((engine, component), cached) = compiled(&bytes, cache.path())?;
        found.cached.push(milliseconds(cached));
        found.refusal.push(median_call(&engine, &component, case("unknown-method")?)?);
        found.reboot.push(median_call(&engine, &component, case("tutorial")?)?);
    }
    Ok(found)
}

/// Compiles a component in a new engine or loads it from the cache. Returns the engine, the
/// compiled component and the elapsed time.
fn compiled(bytes: &[u8], cache: &Path) -> anyhow::Result<((Engine, Compiled), Duration)> {
    let settings = EngineSettings { cache: Some(cache.to_owned()), ..EngineSettings::default() };
    let engine = Engine::new(&settings)?;
    let started = Instant::now();
    let compiled = engine.compile(bytes, &Limits::default())?;
    Ok(((engine, compiled), started.elapsed()))
}

/// Calls a component repeatedly, each time in a fresh instance. Returns the median in
/// milliseconds.
fn median_call(engine: &Engine, component: &Compiled, case: &Case) -> anyhow::Result<f64> {
    let mut times = Times::default();
    for _ in 0..CALLS {
        let started = Instant::now();
        case.run(engine, "plugin", component).map_err(anyhow::Error::msg)?;
        times.push(started.elapsed());
    }
    Ok(times.micros(0.5) / 1e3)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
