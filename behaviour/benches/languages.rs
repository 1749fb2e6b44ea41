//! What a guest costs, language by language: the table of docs/plugins.md.
//!
//! `cargo bench -p behaviour --bench languages` builds the reboot guest of every
//! language whose tools are here, compiles it without a cache and with one, and
//! calls it in fresh instances. It prints Markdown.

#![allow(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]
#![allow(clippy::print_stdout, reason = "the table is for people")]

use std::path::Path;
use std::time::{Duration, Instant};

use behaviour::cases::{self, Case};
use behaviour::{BuildOptions, Language, build};
use plugin::{Compiled, Engine, EngineSettings, Limits};

const CALLS: usize = 50;

fn main() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cases = cases::find(&workspace.join("examples/cases")).unwrap();
    let case = |name: &str| {
        let found = cases.iter().find(|found| found.name == name).unwrap();
        found.case.as_ref().unwrap()
    };
    println!(
        "| language | component KB | compiled ms | from the cache ms | refusal ms | reboot ms |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    for language in Language::ALL {
        let folder = match language {
            Language::Rust => workspace.join("guest-reboot"),
            _ => workspace.join("examples").join(language.name()),
        };
        let Ok(built) = build(&folder, &BuildOptions::default()) else {
            println!("| {language} | its tools are not here | | | | |");
            continue;
        };
        let bytes = std::fs::read(&built.path).unwrap();
        let cache = tempfile::tempdir().unwrap();
        let (_, cold) = compiled(&bytes, cache.path());
        let ((engine, component), warm) = compiled(&bytes, cache.path());
        println!(
            "| {language} | {:.0} | {:.0} | {:.1} | {:.2} | {:.2} |",
            bytes.len() as f64 / 1000.0,
            milliseconds(cold),
            milliseconds(warm),
            milliseconds(called(&engine, &component, case("unknown-method"))),
            milliseconds(called(&engine, &component, case("tutorial"))),
        );
    }
}

/// A new engine, and how long it took to compile or to find this component.
fn compiled(bytes: &[u8], cache: &Path) -> ((Engine, Compiled), Duration) {
    let settings = EngineSettings { cache: Some(cache.to_owned()), ..EngineSettings::default() };
    let engine = Engine::new(&settings).unwrap();
    let begun = Instant::now();
    let compiled = engine.compile(bytes, &Limits::default()).unwrap();
    ((engine, compiled), begun.elapsed())
}

/// The median of some calls, each in a fresh instance.
fn called(engine: &Engine, component: &Compiled, case: &Case) -> Duration {
    let mut times: Vec<Duration> = (0..CALLS)
        .map(|_| {
            let begun = Instant::now();
            case.run(engine, "plugin", component).unwrap();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[CALLS / 2]
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
