//! Trial of one guest in a separate process, and the memory of that process.

use crate::rig::{self, Host};
use crate::{BUDGET_MIB, MANY, MIB, ORDER, Order, ROW, Row};
use behaviour_plugin::{CallError, Engine, Plugin, PluginSettings};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use tokio::sync::Barrier;

/// Instances of the engine. The number is small, so that the test notices a leaked instance.
const INSTANCES: u32 = 4;

/// Threads that load plugins concurrently.
const LOADERS: usize = 4;

/// Engine and host of a trial.
pub(crate) struct Trial {
    pub(crate) engine: Engine,
    pub(crate) host: Host,
    /// Barrier of all trials that load their plugins before the first call.
    barrier: Option<Arc<Barrier>>,
}

impl Trial {
    /// Waits for the other trials if all plugins have to load before the first call.
    pub(crate) async fn loaded(&self) {
        if let Some(barrier) = &self.barrier {
            barrier.wait().await;
        }
    }
}

/// Outcome of a trial, and the resident memory of its process.
pub(crate) struct Measured {
    pub(crate) outcome: String,
    pub(crate) faults: Vec<String>,
    before_kib: usize,
    peak_kib: usize,
    after_kib: usize,
}

impl Measured {
    /// Returns the growth of the process during the trial.
    pub(crate) fn grown_kib(&self) -> usize {
        self.peak_kib.saturating_sub(self.before_kib)
    }

    /// Returns the growth of the process that remains after the trial.
    pub(crate) fn kept_kib(&self) -> usize {
        self.after_kib.saturating_sub(self.before_kib)
    }

    /// Returns the resident memory in MiB before the trial, at its peak, and after it.
    pub(crate) fn memory(&self) -> String {
        let mib = |kib: usize| (kib + 512) / 1024;
        format!("| {} | {} | {} |", mib(self.before_kib), mib(self.peak_kib), mib(self.after_kib))
    }
}

/// Compiles guests, so that children find them in the cache.
pub(crate) fn compile_ahead(guests: &[&str]) {
    let engine = rig::engine_with(INSTANCES);
    for guest in guests.iter().chain(&["reply.wat", "sleeps.wat"]) {
        // A guest whose start function loops compiles as well.
        drop(engine.load("ahead", &fixtures::guest(guest), PluginSettings::default()));
    }
}

/// Runs a row in a child process.
pub(crate) fn in_child(row: &Row, many: Option<Order>) -> Measured {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROW, row.name);
    if let Some(order) = many {
        command.env(ORDER, order.to_string());
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let Ok(seen) = serde_json::from_str::<Value>(last) else {
        let error = String::from_utf8_lossy(&output.stderr);
        let outcome = format!("the process ended with {}: {error}", output.status);
        let faults = vec!["the process ended before its trial".to_owned()];
        return Measured { outcome, faults, before_kib: 0, peak_kib: 0, after_kib: 0 };
    };
    let kib = |name: &str| usize::try_from(seen[name].as_u64().unwrap()).unwrap();
    Measured {
        outcome: seen["outcome"].as_str().unwrap().to_owned(),
        faults: serde_json::from_value(seen["faults"].clone()).unwrap(),
        before_kib: kib("before"),
        peak_kib: kib("peak"),
        after_kib: kib("after"),
    }
}

/// Runs a row in this process, and prints the result as JSON.
pub(crate) fn run(row: &Row, many: Option<Order>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(LOADERS)
        .build()
        .unwrap();
    let seen = runtime.block_on(measure(row, many));
    println!("{seen}");
    // Does not wait for an abandoned compilation.
    runtime.shutdown_background();
}

async fn measure(row: &Row, many: Option<Order>) -> Value {
    let engine = match many {
        None => rig::engine_with(INSTANCES),
        Some(_) => rig::engine_with_budget(MANY, BUDGET_MIB * MIB),
    };
    let load = |name| engine.load("good", &fixtures::guest(name), PluginSettings::default());
    let (good, sleeper) = (load("reply.wat").unwrap(), load("sleeps.wat").unwrap());
    still_works(&good, &sleeper).await.unwrap();
    let barrier = matches!(many, Some(Order::LoadsFirst))
        .then(|| Arc::new(Barrier::new(usize::try_from(MANY).unwrap())));
    let trials: Vec<_> = (0..many.map_or(1, |_| MANY))
        .map(|_| Trial { engine: engine.clone(), host: Host::default(), barrier: barrier.clone() })
        .collect();

    let before = resident_kib("VmRSS:");
    // Resets the peak.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let outcomes = join_all(trials.iter().map(|trial| (row.attempt)(trial))).await;
    let peak = resident_kib("VmHWM:").max(before);

    let mut faults = Vec::new();
    if let Err(error) = still_works(&good, &sleeper).await {
        faults.push(format!("afterwards: {error}"));
    }
    let steers =
        |trial: &Trial| trial.host.log().iter().any(|line| line.contains(char::is_control));
    if trials.iter().any(steers) {
        faults.push("the log has a control character".to_owned());
    }
    let outcome = match many {
        None => outcomes.concat(),
        Some(_) => {
            let expected = |it: &String| {
                it.starts_with(row.expected) || it.starts_with("429") || it.starts_with("507")
            };
            faults.extend(outcomes.iter().filter(|it| !expected(it)).cloned());
            count(&outcomes)
        }
    };
    drop(trials);
    let after = resident_kib("VmRSS:");
    json!({
        "outcome": outcome, "faults": faults, "before": before, "peak": peak, "after": after,
    })
}

/// Counts the outcomes by their status and code.
fn count(outcomes: &[String]) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for outcome in outcomes {
        *counts.entry(outcome.split(':').next().unwrap_or_default()).or_default() += 1;
    }
    let counts: Vec<_> = counts.iter().map(|(code, number)| format!("{number} × {code}")).collect();
    counts.join(", ")
}

/// Checks that a well-behaved plugin answers, and that no instance has leaked.
async fn still_works(good: &Plugin, sleeper: &Plugin) -> Result<(), CallError> {
    let host = Host::default();
    let answer = host.call(good, "echo", "[42]").await?;
    assert_eq!(answer.payload.unwrap().get(), "[42]");
    let sleeping = (0..INSTANCES).map(|_| host.call(sleeper, "once", "10"));
    join_all(sleeping).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

/// Returns a line of this process's memory status.
fn resident_kib(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().strip_suffix(" kB")).map_or(0, |kib| kib.parse().unwrap())
}
