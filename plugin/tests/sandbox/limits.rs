//! Time, memory and calls at once.

use crate::rig::{Host, call, engine_with, load, load_with};
use behaviour_plugin::{CallError, Limits, PluginSettings};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::Instant;

fn with(limits: Limits) -> PluginSettings {
    PluginSettings { limits, ..PluginSettings::default() }
}

fn deadline(deadline: Duration) -> PluginSettings {
    with(Limits { deadline, ..Limits::default() })
}

/// Runs a future as far as it goes by itself.
fn begin<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_plugin_that_loops_is_stopped_and_the_next_call_works() {
    let plugin = load_with("misbehaves.wat", deadline(Duration::from_millis(50))).unwrap();

    let error = call(&plugin, "spin").await.unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded(_)), "{error}");
    call(&plugin, "echo").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_loops_is_stopped_though_the_clock_stands_still() {
    let plugin = load_with("misbehaves.wat", deadline(Duration::from_millis(50))).unwrap();

    let error = call(&plugin, "spin").await.unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded(_)), "{error}");
}

#[tokio::test]
async fn other_calls_are_answered_while_one_loops() {
    let plugin = load_with("misbehaves.wat", deadline(Duration::from_millis(300))).unwrap();
    let mut spins = pin!(call(&plugin, "spin"));

    tokio::select! {
        biased;
        ended = &mut spins => panic!("{ended:?}"),
        answer = call(&plugin, "echo") => assert_eq!(answer.unwrap().status, 200),
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_sleeps_past_its_deadline_is_stopped_at_it() {
    let plugin = load("sleeps.wat");
    let start = Instant::now();

    let error = call(&plugin, "again").await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 30s");
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_method_may_have_a_deadline_of_its_own() {
    let deadlines = BTreeMap::from([("again".to_owned(), Duration::from_secs(60))]);
    let plugin = load_with("sleeps.wat", with(Limits { deadlines, ..Limits::default() })).unwrap();

    assert_eq!(call(&plugin, "again").await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_calls_sleep_side_by_side() {
    let plugin = load("sleeps.wat");
    let start = Instant::now();

    let answers = join_all((0..100).map(|_| call(&plugin, "once"))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(start.elapsed().as_secs(), 20);
}

#[tokio::test]
async fn a_plugin_that_grows_for_ever_runs_out_of_memory() {
    let plugin = load("misbehaves.wat");

    let error = call(&plugin, "grow").await.unwrap_err();
    assert_eq!(error.to_string(), "asked for more than its 67108864 bytes of memory");
    call(&plugin, "echo").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_too_many_is_busy_and_one_dropped_halfway_gives_its_permit_back() {
    let plugin =
        load_with("sleeps.wat", with(Limits { calls_at_once: 1, ..Limits::default() })).unwrap();
    let mut first = Box::pin(call(&plugin, "once"));
    assert!(begin(first.as_mut()).is_pending());

    let error = call(&plugin, "once").await.unwrap_err();
    assert!(matches!(error, CallError::Busy { calls_at_once: 1 }), "{error}");

    drop(first);
    call(&plugin, "once").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_engine_without_a_free_instance_says_so_and_recovers() {
    let engine = engine_with(2);
    let plugin =
        engine.load("sleeps", &fixtures::guest("sleeps.wat"), PluginSettings::default()).unwrap();

    let answers = join_all((0..3).map(|_| call(&plugin, "once"))).await;
    let [Ok(_), Ok(_), Err(error)] = &answers[..] else { panic!("{answers:?}") };
    assert!(matches!(error, CallError::NoInstance(_)), "{error}");
    call(&plugin, "once").await.unwrap();
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_said_to_be_once() {
    let host = Host::default();

    host.call(&load("talks.wat"), "flood", "null").await.unwrap();
    let log = host.log();
    assert_eq!(log.len(), 201);
    assert!(log[200].contains("Warn: this call has used up its log quota"), "{}", log[200]);
}

#[tokio::test]
async fn a_flood_of_reports_or_messages_is_told_no() {
    let host = Host::default();
    let plugin = load("asks.wat");
    let quota_exceeded = 400 + 3;

    let answer = host.call(&plugin, "often", "{\"a\":1}").await.unwrap();
    assert_eq!((answer.status, host.patches().len()), (quota_exceeded, 100));
    let answer = host.call(&plugin, "send", "1").await.unwrap();
    assert_eq!((answer.status, host.messages().len()), (quota_exceeded, 100));
}
