//! Guests that misbehave, each with what must come of it: one line a guest.
//!
//! After each of them a good plugin is called, and every instance of the engine
//! is free again; after all of them the process is as small as before. What
//! bounds the time of a row is the sandbox itself: the deadline of a call, the
//! time to compile. `cargo test --test hostile -- WORD` runs the rows whose name
//! has the word.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]
#![allow(clippy::print_stdout, reason = "it says what it has seen")]

mod calls;
mod loads;
#[allow(dead_code, reason = "shared with the tests of the sandbox")]
#[path = "../sandbox/rig.rs"]
mod rig;

use behaviour_plugin::{CallError, Engine, Plugin, PluginSettings};
use futures_util::future::{BoxFuture, join_all};
use rig::Host;
use std::process::ExitCode;

/// Instances of the engine. Few, so that one that is not given back is missed.
const INSTANCES: u32 = 4;

/// The most that the process may have grown by at the end. The allocator keeps some of
/// the compiler's memory.
const GROWTH_KIB: usize = 192 * 1024;

/// One guest: its name, what comes of it, and how it is tried.
struct Row {
    name: &'static str,
    expected: &'static str,
    attempt: for<'a> fn(&'a Trial) -> BoxFuture<'a, String>,
}

/// The engine and the host that a guest is tried with.
struct Trial {
    engine: Engine,
    host: Host,
}

fn main() -> ExitCode {
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let rows = calls::ROWS.iter().chain(loads::ROWS);
    let rows: Vec<_> =
        rows.filter(|row| word.as_ref().is_none_or(|word| row.name.contains(word))).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let good = runtime.block_on(all_good(rows));
    // A compiler that was given up on does not keep the test.
    runtime.shutdown_background();
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn all_good(rows: Vec<&Row>) -> bool {
    let engine = rig::engine_with(INSTANCES);
    let load = |name| engine.load("good", &fixtures::guest(name), PluginSettings::default());
    let (good, sleeper) = (load("reply.wat").unwrap(), load("sleeps.wat").unwrap());
    still_works(&good, &sleeper).await.unwrap();
    let before = resident_kib();
    let mut failed = 0;
    for row in &rows {
        let trial = Trial { engine: engine.clone(), host: Host::default() };
        let mut outcome = (row.attempt)(&trial).await;
        if !outcome.starts_with(row.expected) {
            outcome = format!("{outcome}\n    expected: {}", row.expected);
            failed += 1;
        }
        if let Err(error) = still_works(&good, &sleeper).await {
            outcome = format!("{outcome}\n    and afterwards: {error}");
            failed += 1;
        }
        if trial.host.log().iter().any(|line| line.contains(char::is_control)) {
            outcome = format!("{outcome}\n    and the log has a control character");
            failed += 1;
        }
        println!("{:<34} {outcome}", row.name);
    }
    let grown = resident_kib().saturating_sub(before);
    println!("{} guests, {failed} failed; the process has grown by {grown} KiB", rows.len());
    failed == 0 && grown < GROWTH_KIB
}

/// A good plugin is answered, and there is an instance for as many calls at once
/// as there are.
async fn still_works(good: &Plugin, sleeper: &Plugin) -> Result<(), CallError> {
    let host = Host::default();
    let answer = host.call(good, "echo", "[42]").await?;
    assert_eq!(answer.payload.unwrap().get(), "[42]");
    let sleeping = (0..INSTANCES).map(|_| host.call(sleeper, "once", "10"));
    join_all(sleeping).await.into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(())
}

/// The memory of this process.
fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")).map_or(0, |kib| kib.parse().unwrap())
}
