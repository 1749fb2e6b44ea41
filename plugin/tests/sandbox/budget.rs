//! The memory of all calls together.

use crate::rig::{Host, engine_with_budget};
use behaviour_plugin::{Answer, CallError, Engine, Limits, LoadError, Plugin, PluginSettings};
use futures_util::future::join_all;
use std::time::Duration;

const MIB: usize = 1024 * 1024;

fn load(engine: &Engine, guest: &str) -> Plugin {
    engine.load("reboot", &fixtures::guest(guest), PluginSettings::default()).unwrap()
}

fn is_busy(outcome: &Result<Answer, CallError>) -> bool {
    matches!(outcome, Err(CallError::NoInstance(_)))
}

#[tokio::test(start_paused = true)]
async fn calls_past_the_budget_are_busy_and_the_others_are_answered() {
    let engine = engine_with_budget(300, 16 * MIB);
    let (plugin, host) = (load(&engine, "sleeps.wat"), Host::default());

    let outcomes = join_all((0..100).map(|_| host.call(&plugin, "once", "null"))).await;
    let busy = outcomes.iter().filter(|outcome| is_busy(outcome)).count();
    let answered = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(answered >= 4 && busy > 0 && answered + busy == 100, "{answered} of 100, {busy} busy");
    let error = outcomes.into_iter().find_map(Result::err).unwrap();
    assert_eq!((error.status(), error.word()), (429, "busy"));
    assert_eq!(
        error.message(),
        "no room for one more instance: the 16777216 bytes of memory for all calls are in use"
    );

    assert_eq!(engine.memory_in_use(), 0);
    host.call(&plugin, "once", "null").await.unwrap();
}

#[tokio::test]
async fn a_call_that_grows_past_the_budget_is_out_of_memory_and_leaves_room_for_others() {
    let engine = engine_with_budget(10, 32 * MIB);
    let (plugin, host) = (load(&engine, "misbehaves.wat"), Host::default());

    let error = host.call(&plugin, "grow", "null").await.unwrap_err();
    assert_eq!((error.status(), error.word()), (507, "out-of-memory"));
    assert_eq!(
        error.message(),
        "asked for more memory than is left of the 33554432 bytes for all calls"
    );
    assert_eq!(engine.memory_in_use(), 0);
    host.call(&plugin, "echo", "null").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_halfway_gives_its_memory_back() {
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
fn a_plugin_that_could_never_be_called_is_refused() {
    let engine = engine_with_budget(10, MIB);
    let loaded = engine.load("x", &fixtures::guest("sleeps.wat"), PluginSettings::default());

    let error = loaded.err().unwrap();
    assert!(matches!(error, LoadError::Budget { limit_bytes: MIB, .. }), "{error}");
    assert!(error.to_string().ends_with(" bytes; the budget of all calls is 1048576"), "{error}");
}

#[test]
fn a_component_that_takes_more_memory_to_compile_than_the_host_has_is_refused() {
    // Less than a megabyte of code, of which a compiler makes some forty.
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
async fn a_compilation_counts_as_memory_of_the_host_and_waits_for_the_calls() {
    let engine = engine_with_budget(10, 8 * MIB);
    let (sleeps, host) = (load(&engine, "sleeps.wat"), Host::default());
    let mut calls: Vec<_> = (0..10).map(|_| Box::pin(host.call(&sleeps, "once", "null"))).collect();
    for call in &mut calls {
        tokio::select! {
            biased;
            _ = call => {}
            () = tokio::task::yield_now() => {}
        }
    }
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
