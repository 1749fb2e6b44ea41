//! The trial of one guest in a process of its own, and the memory of this process.

use crate::rig::{self, Host};
use crate::{AT_ONCE, BUDGET_MIB, MIB, ROW, Row};
use behaviour_plugin::{CallError, Engine, Plugin, PluginSettings};
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// Instances of the engine. Few, so that one that is not given back is missed.
const INSTANCES: u32 = 4;

/// The engine and the host that a guest is tried with.
pub(crate) struct Trial {
    pub(crate) engine: Engine,
    pub(crate) host: Host,
}

/// The outcome of a trial, and the resident memory of its process.
pub(crate) struct Measured {
    pub(crate) outcome: String,
    pub(crate) faults: Vec<String>,
    before_kib: usize,
    most_kib: usize,
    after_kib: usize,
}

impl Measured {
    /// Returns the growth of the process during the trial.
    pub(crate) fn grown_kib(&self) -> usize {
        self.most_kib.saturating_sub(self.before_kib)
    }

    /// Returns the growth of the process that is left after the trial.
    pub(crate) fn kept_kib(&self) -> usize {
        self.after_kib.saturating_sub(self.before_kib)
    }

    /// Returns the resident memory in MiB: before, at its highest, after.
    pub(crate) fn memory(&self) -> String {
        let mib = |kib: usize| (kib + 512) / 1024;
        format!("| {} | {} | {} |", mib(self.before_kib), mib(self.most_kib), mib(self.after_kib))
    }
}

/// Compiles guests, so that children find them in the cache.
pub(crate) fn compile_ahead(guests: &[&str]) {
    let engine = rig::engine_with(INSTANCES);
    for guest in guests.iter().chain(&["reply.wat", "sleeps.wat"]) {
        // A guest whose start never ends is compiled all the same.
        drop(engine.load("ahead", &fixtures::guest(guest), PluginSettings::default()));
    }
}

/// Runs a row in a child process.
pub(crate) fn in_child(row: &Row, at_once: Option<u32>) -> Measured {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROW, row.name);
    if let Some(number) = at_once {
        command.env(AT_ONCE, number.to_string());
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let Ok(seen) = serde_json::from_str::<Value>(last) else {
        let error = String::from_utf8_lossy(&output.stderr);
        let outcome = format!("the process ended with {}: {error}", output.status);
        let faults = vec!["the process ended before its trial".to_owned()];
        return Measured { outcome, faults, before_kib: 0, most_kib: 0, after_kib: 0 };
    };
    let kib = |name: &str| usize::try_from(seen[name].as_u64().unwrap()).unwrap();
    Measured {
        outcome: seen["outcome"].as_str().unwrap().to_owned(),
        faults: serde_json::from_value(seen["faults"].clone()).unwrap(),
        before_kib: kib("before"),
        most_kib: kib("most"),
        after_kib: kib("after"),
    }
}

/// Runs a row in this process, and prints what was seen as JSON.
pub(crate) fn run(row: &Row, at_once: Option<u32>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let seen = runtime.block_on(tried(row, at_once));
    println!("{seen}");
    // A compiler that was given up on does not keep the test.
    runtime.shutdown_background();
}

async fn tried(row: &Row, at_once: Option<u32>) -> Value {
    let engine = match at_once {
        None => rig::engine_with(INSTANCES),
        Some(number) => rig::engine_with_budget(number, BUDGET_MIB * MIB),
    };
    let load = |name| engine.load("good", &fixtures::guest(name), PluginSettings::default());
    let (good, sleeper) = (load("reply.wat").unwrap(), load("sleeps.wat").unwrap());
    still_works(&good, &sleeper).await.unwrap();
    let trials: Vec<_> = (0..at_once.unwrap_or(1))
        .map(|_| Trial { engine: engine.clone(), host: Host::default() })
        .collect();

    let before = resident_kib("VmRSS:");
    // From now on the peak counts from here.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let outcomes = join_all(trials.iter().map(|trial| (row.attempt)(trial))).await;
    let most = resident_kib("VmHWM:").max(before);

    let mut faults = Vec::new();
    if let Err(error) = still_works(&good, &sleeper).await {
        faults.push(format!("and afterwards: {error}"));
    }
    let steers =
        |trial: &Trial| trial.host.log().iter().any(|line| line.contains(char::is_control));
    if trials.iter().any(steers) {
        faults.push("and the log has a control character".to_owned());
    }
    let outcome = match at_once {
        None => outcomes.concat(),
        Some(_) => {
            let expected = |it: &String| {
                it.starts_with(row.expected) || it.starts_with("429") || it.starts_with("507")
            };
            faults.extend(outcomes.iter().filter(|it| !expected(it)).cloned());
            counted(&outcomes)
        }
    };
    drop(trials);
    let after = resident_kib("VmRSS:");
    json!({
        "outcome": outcome, "faults": faults, "before": before, "most": most, "after": after,
    })
}

/// Returns the number of outcomes by their first words.
fn counted(outcomes: &[String]) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for outcome in outcomes {
        *counts.entry(outcome.split(':').next().unwrap_or_default()).or_default() += 1;
    }
    let counts: Vec<_> =
        counts.iter().map(|(words, number)| format!("{number} × {words}")).collect();
    counts.join(", ")
}

/// Checks that a good plugin is answered, and that there is an instance for as many calls
/// at once as there are.
async fn still_works(good: &Plugin, sleeper: &Plugin) -> Result<(), CallError> {
    let host = Host::default();
    let answer = host.call(good, "echo", "[42]").await?;
    assert_eq!(answer.payload.unwrap().get(), "[42]");
    let sleeping = (0..INSTANCES).map(|_| host.call(sleeper, "once", "10"));
    join_all(sleeping).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

/// Returns a figure of this process's memory.
fn resident_kib(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.trim().strip_suffix(" kB")).map_or(0, |kib| kib.parse().unwrap())
}
