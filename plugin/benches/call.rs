//! Benchmark of the sandbox against bare wasmtime: `cargo bench -p behaviour-plugin --bench
//! call`.
//!
//! One call consists of a fresh store, a fresh instance, the guest's function, and the drop
//! of all three. Both sides use the same engine: one through [`Plugin::invoke`], with
//! limits, log and handles, the other with wasmtime only. Absolute times depend on the
//! machine; the result is the ratio of alternating rounds. The second group loads a large
//! component from the cache.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` ends the benchmark")]
#![allow(clippy::print_stdout, reason = "a benchmark is for people")]

mod bare;
#[allow(dead_code, reason = "shared with the tests of the sandbox")]
#[path = "../tests/sandbox/rig.rs"]
mod rig;

use bare::Bare;
use behaviour_plugin::{BootOutcome, Call, Lent, Plugin, PluginSettings};
use criterion::{Criterion, criterion_group, criterion_main};
use rig::Host;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Maximum cost of a call, as a multiple of bare wasmtime.
const GOAL: f64 = 1.2;

const ROUNDS: usize = 200;
const CALLS_A_ROUND: u32 = 50;

/// A guest and the method to call.
const GUESTS: [(&str, &str); 2] = [("reply.wat", "echo"), ("misbehaves.wat", "echo")];

fn calls(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let engine = rig::engine_with(64);
    for (guest, method) in GUESTS {
        let bytes = fixtures::guest(guest);
        let plugin = engine.load("bench", &bytes, PluginSettings::default()).unwrap();
        let bare = Bare::new(&engine, &bytes);
        let lent = Host::default().a_call(method, "null").lent;
        let mut group = criterion.benchmark_group(format!("call of {guest}"));
        group.bench_function("plugin", |bencher| {
            bencher.to_async(&runtime).iter(|| plugin.invoke(call(&lent, method)));
        });
        group.bench_function("bare", |bencher| {
            bencher.to_async(&runtime).iter(|| bare.call(method, "[42]"));
        });
        group.finish();
        let ratio = runtime.block_on(ratio(&plugin, &bare, &lent, method));
        println!("call of {guest}: plugin to bare {ratio:.2} (goal: {GOAL} at most)\n");
    }
}

/// Creates a call like a host, which has its handles at hand.
fn call<'a>(lent: &Arc<Lent>, method: &'a str) -> Call<'a> {
    let (attempt, boot_outcome) = (1, BootOutcome::NotWaitedFor);
    let id = Arc::from("call-1");
    let lent = Arc::clone(lent);
    Call { id, method, payload: "[42]", attempt, boot_outcome, trace_parent: None, lent }
}

/// Returns the medians of alternating rounds, so that other load on the machine affects
/// both sides.
async fn ratio(plugin: &Plugin, bare: &Bare, lent: &Arc<Lent>, method: &str) -> f64 {
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..CALLS_A_ROUND {
            black_box(plugin.invoke(call(lent, method)).await.unwrap());
        }
        let of_plugin = begun.elapsed();
        let begun = Instant::now();
        for _ in 0..CALLS_A_ROUND {
            black_box(bare.call(method, "[42]").await);
        }
        ratios.push(of_plugin.as_secs_f64() / begun.elapsed().as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    ratios[ROUNDS / 2]
}

fn loads(criterion: &mut Criterion) {
    let engine = rig::engine_with(4);
    // 16 MB, as an interpreter with its library.
    let large = fixtures::laborious(4_000, 450);
    let load = || engine.load("large", &large, PluginSettings::default()).unwrap();
    load();
    let mut group = criterion.benchmark_group("load");
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    group.bench_function(format!("from the cache, {} MB", large.len() / 1_000_000), |bencher| {
        bencher.iter(load);
    });
    group.finish();
}

criterion_group!(benches, calls, loads);
criterion_main!(benches);
