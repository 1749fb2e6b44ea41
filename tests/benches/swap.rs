//! The duration of a swap, from the installation of a new file to the first answer of the new
//! version at the service. Run it with `cargo bench -p tests --bench swap`.
//!
//! The host waits briefly after each change of the file, since its writer may not have
//! finished. The measured time includes this wait.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints its results")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rig::{Rig, Running, within};
use serde_json::Value;
use tokio::task::JoinSet;

const SWAPS: usize = 50;

const IN_FLIGHT: usize = 32;

#[tokio::main]
async fn main() {
    let rig = Rig::new().plugin("version-one.wat", ()).start().await;
    // These swaps put both versions into the compile cache, as in a long-running host.
    swap(&rig, 0).await;
    swap(&rig, 1).await;

    println!("from installing a file to the first answer of the new version, {SWAPS} swaps");
    report("no other calls", swaps(&rig).await);

    let done = Arc::new(AtomicBool::new(false));
    let answered = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (service, done, answered) =
            (rig.service.clone(), Arc::clone(&done), Arc::clone(&answered));
        callers.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let answer = service.call("ask", Value::Null).await.unwrap();
                assert_eq!(answer.payload["first"], answer.payload["second"]);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let started = Instant::now();
    let times = swaps(&rig).await;
    let rate = answered.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
    done.store(true, Ordering::Relaxed);
    callers.join_all().await;
    report(&format!("{IN_FLIGHT} calls in flight, {rate:.0}/s"), times);
}

async fn swaps(rig: &Running) -> Vec<Duration> {
    let mut times = Vec::with_capacity(SWAPS);
    for round in 0..SWAPS {
        times.push(swap(rig, round).await);
    }
    times.sort();
    times
}

/// Installs the other version, and returns the time until it answers.
async fn swap(rig: &Running, round: usize) -> Duration {
    let next = if round.is_multiple_of(2) { "two" } else { "one" };
    let started = Instant::now();
    rig.swap("version-one", &format!("version-{next}.wat"));
    // `until` is not used, since the measurement would include its pause.
    let answered = async {
        while rig.service.call("ask", Value::Null).await.unwrap().payload["first"] != next {}
    };
    within(format!("version {next} answers"), answered).await;
    started.elapsed()
}

fn report(load: &str, times: Vec<Duration>) {
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    println!("  {load:<32} median {median:>8.1?}   longest {longest:>8.1?}");
}
