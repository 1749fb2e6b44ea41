//! Limits on time, memory, concurrent calls, log lines, reports and messages.

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

/// Polls a future once.
fn begin<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn a_looping_call_is_stopped_at_its_deadline_and_the_next_call_works() {
    let plugin = load_with("misbehaves.wat", deadline(Duration::from_millis(50))).unwrap();

    let error = call(&plugin, "spin").await.unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded(_)), "{error}");
    call(&plugin, "echo").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_looping_call_is_stopped_even_if_the_clock_is_paused() {
    let plugin = load_with("misbehaves.wat", deadline(Duration::from_millis(50))).unwrap();

    let error = call(&plugin, "spin").await.unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded(_)), "{error}");
}

#[tokio::test]
async fn other_calls_are_answered_while_a_call_loops() {
    let plugin = load_with("misbehaves.wat", deadline(Duration::from_millis(300))).unwrap();
    let mut looping = pin!(call(&plugin, "spin"));

    tokio::select! {
        biased;
        ended = &mut looping => panic!("{ended:?}"),
        answer = call(&plugin, "echo") => assert_eq!(answer.unwrap().status, 200),
    }
}

#[tokio::test(start_paused = true)]
async fn a_sleeping_call_is_stopped_at_its_deadline() {
    let plugin = load("sleeps.wat");
    let start = Instant::now();

    let error = call(&plugin, "again").await.unwrap_err();
    assert_eq!(error.to_string(), "no answer within 30s");
    assert_eq!(start.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_method_can_have_a_separate_deadline() {
    let deadlines = BTreeMap::from([("again".to_owned(), Duration::from_secs(60))]);
    let plugin = load_with("sleeps.wat", with(Limits { deadlines, ..Limits::default() })).unwrap();

    assert_eq!(call(&plugin, "again").await.unwrap().status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_calls_can_sleep_concurrently() {
    let plugin = load("sleeps.wat");
    let start = Instant::now();

    let answers = join_all((0..100).map(|_| call(&plugin, "once"))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(start.elapsed().as_secs(), 20);
}

#[tokio::test]
async fn a_call_above_its_memory_limit_is_stopped_and_the_next_call_works() {
    let plugin = load("misbehaves.wat");

    let error = call(&plugin, "grow").await.unwrap_err();
    assert_eq!(error.to_string(), "exceeded its limit of 67108864 bytes of memory");
    call(&plugin, "echo").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_above_the_limit_is_busy_and_a_dropped_call_releases_its_permit() {
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
async fn a_call_without_a_free_instance_fails_and_a_later_call_works() {
    let engine = engine_with(2);
    let plugin =
        engine.load("sleeps", &fixtures::guest("sleeps.wat"), PluginSettings::default()).unwrap();

    let answers = join_all((0..3).map(|_| call(&plugin, "once"))).await;
    let [Ok(_), Ok(_), Err(error)] = &answers[..] else { panic!("{answers:?}") };
    assert!(matches!(error, CallError::NoInstance(_)), "{error}");
    call(&plugin, "once").await.unwrap();
}

#[tokio::test]
async fn log_lines_above_the_quota_are_dropped_with_one_warning() {
    let host = Host::default();

    host.call(&load("talks.wat"), "flood", "null").await.unwrap();
    let log = host.log();
    assert_eq!(log.len(), 201);
    assert!(log[200].contains("Warn: this call has used up its log quota"), "{}", log[200]);
}

#[tokio::test]
async fn reports_and_messages_above_the_limit_are_refused() {
    let host = Host::default();
    let plugin = load("asks.wat");
    let quota_exceeded = 400 + 3;

    let answer = host.call(&plugin, "often", "{\"a\":1}").await.unwrap();
    assert_eq!((answer.status, host.patches().len()), (quota_exceeded, 100));
    let answer = host.call(&plugin, "send", "1").await.unwrap();
    assert_eq!((answer.status, host.messages().len()), (quota_exceeded, 100));
}
