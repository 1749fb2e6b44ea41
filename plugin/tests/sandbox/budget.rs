//! Memory budget of all calls.

use crate::rig::{Host, engine_in, engine_with_budget};
use behaviour_plugin::{Answer, CallError, Engine, Limits, LoadError, Plugin, PluginSettings};
use futures_util::future::join_all;
use std::time::Duration;

const MIB: usize = 1024 * 1024;

fn load(engine: &Engine, guest: &str) -> Plugin {
    engine.load("reboot", &fixtures::guest(guest), PluginSettings::default()).unwrap()
}

/// Begins calls that sleep. Calls that are refused end at once.
async fn begin_calls<'a>(
    host: &'a Host,
    sleeps: &'a Plugin,
    number: usize,
) -> Vec<impl Future<Output = Result<Answer, CallError>>> {
    let mut calls: Vec<_> =
        (0..number).map(|_| Box::pin(host.call(sleeps, "once", "null"))).collect();
    for call in &mut calls {
        tokio::select! {
            biased;
            _ = call => {}
            () = tokio::task::yield_now() => {}
        }
    }
    calls
}

fn is_busy(outcome: &Result<Answer, CallError>) -> bool {
    matches!(outcome, Err(CallError::NoInstance(_)))
}

#[tokio::test(start_paused = true)]
async fn calls_above_the_budget_are_busy_and_the_others_are_answered() {
    let engine = engine_with_budget(300, 16 * MIB);
    let (plugin, host) = (load(&engine, "sleeps.wat"), Host::default());

    let outcomes = join_all((0..100).map(|_| host.call(&plugin, "once", "null"))).await;
    let busy = outcomes.iter().filter(|outcome| is_busy(outcome)).count();
    let answered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(answered >= 4 && busy > 0 && answered + busy == 100, "{answered} of 100, {busy} busy");
    let error = outcomes.into_iter().find_map(Result::err).unwrap();
    assert_eq!((error.status(), error.code()), (429, "busy"));
    assert_eq!(
        error.message(),
        "no capacity for another instance: the 16777216 bytes of memory for all calls are in use"
    );

    assert_eq!(engine.memory_in_use(), 0);
    host.call(&plugin, "once", "null").await.unwrap();
}

#[tokio::test]
async fn a_call_that_exceeds_the_budget_alone_is_out_of_memory_and_releases_its_memory() {
    let engine = engine_with_budget(10, 32 * MIB);
    let (plugin, host) = (load(&engine, "misbehaves.wat"), Host::default());

    let error = host.call(&plugin, "grow", "null").await.unwrap_err();
    assert_eq!((error.status(), error.code()), (507, "out-of-memory"));
    assert_eq!(error.message(), "exceeded its limit of 29360128 bytes of memory");
    assert!(!error.is_lack_of_capacity());
    assert_eq!(engine.memory_in_use(), 0);
    host.call(&plugin, "echo", "null").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_grows_while_others_use_the_budget_lacks_capacity() {
    let engine = engine_with_budget(10, 72 * MIB);
    let (plugin, host) = (load(&engine, "misbehaves.wat"), Host::default());
    let sleeps = load(&engine, "sleeps.wat");
    let mut calls = begin_calls(&host, &sleeps, 5).await;

    let error = host.call(&plugin, "grow", "null").await.unwrap_err();
    assert_eq!((error.status(), error.code()), (507, "out-of-memory"));
    assert_eq!(error.message(), "no memory left of the 75497472 bytes for all calls");
    assert!(error.is_lack_of_capacity());

    calls.clear();
    assert_eq!(engine.memory_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_releases_its_memory() {
    let engine = engine_with_budget(10, 32 * MIB);
    let (plugin, host) = (load(&engine, "sleeps.wat"), Host::default());

    let mut call = Box::pin(host.call(&plugin, "once", "null"));
    tokio::select! {
        biased;
        outcome = &mut call => panic!("{outcome:?}"),
        () = tokio::task::yield_now() => {}
    }
    assert!(engine.memory_in_use() > MIB);

    drop(call);
    assert_eq!(engine.memory_in_use(), 0);
}

#[test]
fn a_plugin_that_cannot_start_within_the_budget_is_refused() {
    let engine = engine_with_budget(10, MIB);
    let loaded = engine.load("x", &fixtures::guest("sleeps.wat"), PluginSettings::default());

    let error = loaded.err().unwrap();
    assert!(matches!(error, LoadError::Budget { limit_bytes: MIB, .. }), "{error}");
    assert!(error.to_string().ends_with(" bytes; the budget of all calls is 1048576"), "{error}");
}

#[test]
fn a_component_that_needs_more_memory_to_compile_than_the_budget_is_refused() {
    // Compiling this half megabyte of code needs more than 20 MiB.
    let component = fixtures::laborious(1, 50_000);
    let engine = engine_with_budget(10, 8 * MIB);
    let error = engine.load("x", &component, PluginSettings::default()).err().unwrap();
    assert!(
        matches!(error, LoadError::CompileMemory { limit_bytes, .. } if limit_bytes == 8 * MIB)
    );
    assert!(error.to_string().ends_with(" to compile; the host may use 8388608"), "{error}");
    assert_eq!(engine.memory_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_compilation_counts_against_the_budget_and_waits_for_calls() {
    // A separate cache, because a component of an earlier run would not be compiled again.
    let cache = tempfile::tempdir().unwrap();
    let engine = engine_in(cache.path(), 10, 8 * MIB);
    let (sleeps, host) = (load(&engine, "sleeps.wat"), Host::default());
    let calls = begin_calls(&host, &sleeps, 10).await;
    let used = engine.memory_in_use();
    assert!(used > 4 * MIB, "{used}");

    let limits = Limits { compile_time: Duration::from_millis(1), ..Limits::default() };
    // About 100 KB of code.
    let component = fixtures::laborious(100, 110);
    let error = engine.compile(&component, &limits).err().unwrap();
    assert!(matches!(error, LoadError::CompileBusy { .. }), "{error}");
    assert!(error.to_string().ends_with(" were not free within 1ms"), "{error}");

    drop(calls);
    assert_eq!(engine.memory_in_use(), 0);
    engine.compile(&component, &Limits::default()).unwrap();
    assert_eq!(engine.memory_in_use(), 0);
}
