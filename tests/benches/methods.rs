//! The duration of methods from the service through the hub to a plugin and back. Run it with
//! `cargo bench -p tests`. Everything runs in one process, over TLS.
//!
//! Absolute times depend on the machine. The ratios refer to a baseline from the same run.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints its results")]

use std::time::{Duration, Instant};

use rig::{Rig, Running, set};
use serde_json::{Value, json};
use tokio::task::JoinSet;

const ROUNDS: usize = 500;

#[tokio::main]
async fn main() {
    let rig = Rig::new()
        .plugin("sleeps.wat", [set("methods", vec!["sleep"]), set("limits.calls_at_once", 1000)])
        .plugin("reply.wat", ())
        .start()
        .await;

    let twin = median(&rig, Probe::Twin).await;
    let echo = median(&rig, Probe::Echo).await;
    let sleepers = sleep(&rig, 100, 30_000).await;
    let while_sleeping = median(&rig, Probe::Echo).await;
    drop(sleepers);
    println!("one request at a time, median of {ROUNDS}");
    println!("  read a twin: service, hub               {twin:>9.1?}   baseline");
    println!("  call a plugin: service, hub, host       {echo:>9.1?}   {:.2}", ratio(echo, twin));
    println!(
        "  the same while 100 calls sleep          {while_sleeping:>9.1?}   {:.2}",
        ratio(while_sleeping, twin)
    );

    let started = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..32 {
        let service = rig.service.clone();
        calls.spawn(async move {
            for _ in 0..ROUNDS / 4 {
                service.call("echo", Value::Null).await.unwrap();
            }
        });
    }
    calls.join_all().await;
    let rate = (32 * (ROUNDS / 4)) as f64 / started.elapsed().as_secs_f64();
    println!("32 requests at a time");
    println!("  call a plugin                           {rate:>7.0}/s");

    let started = Instant::now();
    let mut sleepers = sleep(&rig, 1000, 2_000).await;
    while let Some(status) = sleepers.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    let all = started.elapsed();
    println!("1000 calls at once that sleep 2 s");
    println!(
        "  until the last is answered              {all:>9.1?}   {:.2} of the sleep",
        ratio(all, Duration::from_secs(2))
    );
}

#[derive(Clone, Copy)]
enum Probe {
    Twin,
    Echo,
}

async fn median(rig: &Running, probe: Probe) -> Duration {
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        match probe {
            Probe::Twin => drop(rig.service.client.twin(&rig.service.device).await.unwrap()),
            Probe::Echo => drop(rig.service.call("echo", Value::Null).await.unwrap()),
        }
        times.push(started.elapsed());
    }
    times.sort();
    times[ROUNDS / 2]
}

/// Starts calls that sleep, and returns tasks that resolve to their statuses.
async fn sleep(rig: &Running, calls: usize, ms: u32) -> JoinSet<i32> {
    let mut sleepers = JoinSet::new();
    for _ in 0..calls {
        let service = rig.service.clone();
        sleepers.spawn(async move { service.call("sleep", json!(ms)).await.unwrap().status });
    }
    sleepers
}

fn ratio(time: Duration, baseline: Duration) -> f64 {
    time.as_secs_f64() / baseline.as_secs_f64()
}
