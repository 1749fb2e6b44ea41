//! The sandbox without a network: one call in a fresh instance.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::ensure;
use plugin::{BootOutcome, Call, Engine, EngineSettings, Lent, PluginSettings};

use crate::bare_wasmtime::BareWasmtime;
use crate::extism::Extism;
use crate::goals::{Measure, Results};
use crate::numbers::{Rounds, Times};
use crate::peers::Stage;
use crate::report::{self, Table};
use crate::{Effort, lent, say};

/// The sizes of the payload in bytes. The payload is a JSON string, which is also the answer.
const PAYLOADS: [usize; 4] = [64, 1 << 10, 64 << 10, 128 << 10];

/// The number of calls of one round, whose median is the result.
const CALLS: usize = 2_000;

/// The results for one size of the payload, in microseconds.
#[derive(Default)]
struct PayloadResults {
    plugin: Rounds,
    bare: Rounds,
    native: Rounds,
    /// Empty if Extism cannot be built.
    extism: Rounds,
}

pub(crate) async fn measure(
    stage: &Stage,
    effort: Effort,
    goals: &mut Results,
) -> anyhow::Result<()> {
    let bytes = std::fs::read(&stage.programs.probe)?;
    let settings = EngineSettings {
        cache: Some(stage.folder.path().join("compiled")),
        ..EngineSettings::default()
    };
    let engine = Engine::new(&settings)?;
    let plugin = engine.load("probe", &bytes, PluginSettings::default())?;
    let bare = BareWasmtime::new(&engine, &bytes)?;
    let native: Box<dyn Fn(&str) -> String + Send> = Box::new(str::to_owned);
    let lent = Arc::new(lent::offline());
    let mut extism = match Extism::start(stage) {
        Ok(extism) => Some(extism),
        Err(error) => {
            say(&format!("sandbox: without Extism: {error:#}"));
            None
        }
    };

    let mut found: [PayloadResults; PAYLOADS.len()] = Default::default();
    for round in 1..=effort.rounds {
        say(&format!("sandbox: round {round} of {}", effort.rounds));
        for (found, size) in found.iter_mut().zip(PAYLOADS) {
            let payload = format!("\"{}\"", "x".repeat(size - 2));
            found.plugin.push(in_plugin(&plugin, &lent, &payload).await?);
            found.bare.push(in_bare_wasmtime(&bare, &payload).await?);
            if let Some(extism) = &mut extism {
                found.extism.push(extism.median(size)?);
            }
            found.native.push(median(|| drop(black_box(native(black_box(&payload))))));
        }
    }
    let [_, small, _, large] = &found;
    goals.record(Measure::Sandbox1K, small.plugin.over(&small.bare));
    goals.record(Measure::Sandbox128K, large.plugin.over(&large.bare));
    if extism.is_some() {
        goals.record(Measure::UnderExtism, small.extism.over(&small.plugin));
    }
    let headings = [
        "payload",
        "plugin µs",
        "bare wasmtime µs",
        "ratio",
        "fresh Extism plugin µs",
        "native closure µs",
    ];
    let mut table = Table::new(headings);
    for (found, size) in found.iter().zip(PAYLOADS) {
        table.row([
            format!("{size} B"),
            found.plugin.spread().to_string(),
            found.bare.spread().to_string(),
            found.plugin.over(&found.bare).spread().to_string(),
            if extism.is_some() { found.extism.spread().to_string() } else { "–".to_owned() },
            found.native.spread().to_string(),
        ]);
    }
    report::publish("sandbox", &table.to_markdown(), effort.quick)
}

async fn in_plugin(
    plugin: &plugin::Plugin,
    lent: &Arc<Lent>,
    payload: &str,
) -> anyhow::Result<f64> {
    let id: Arc<str> = "0".into();
    let mut times = Times::default();
    for _ in 0..CALLS {
        let started = Instant::now();
        let call = Call {
            id: Arc::clone(&id),
            method: "echo",
            payload,
            attempt: 1,
            boot_outcome: BootOutcome::default(),
            trace_parent: None,
            lent: Arc::clone(lent),
        };
        let answer = plugin.invoke(call).await?;
        times.push(started.elapsed());
        ensure!(
            answer.payload.is_some_and(|json| json.get() == payload),
            "the answer differs from the payload"
        );
    }
    Ok(times.micros(0.5))
}

async fn in_bare_wasmtime(bare: &BareWasmtime, payload: &str) -> anyhow::Result<f64> {
    let mut times = Times::default();
    for _ in 0..CALLS {
        let started = Instant::now();
        let answer = bare.call("echo", payload).await?;
        times.push(started.elapsed());
        ensure!(answer == payload, "the answer differs from the payload");
    }
    Ok(times.micros(0.5))
}

/// Returns the median of work that is shorter than the resolution of the clock.
fn median(work: impl Fn()) -> f64 {
    const BATCH: u32 = 100;
    let mut times = Times::default();
    for _ in 0..CALLS / 10 {
        let started = Instant::now();
        (0..BATCH).for_each(|_| work());
        times.push(started.elapsed());
    }
    times.micros(0.5) / f64::from(BATCH)
}
