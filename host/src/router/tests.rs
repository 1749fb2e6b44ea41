//! Tests of the answers for each kind of failure, with real plugins that misbehave.

use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::{Document, HostError, LogLine, LogSink, SystemClock, TelemetrySink, TwinAccess};
use serde_json::{Map, Value, json};

use super::*;
use crate::Config;
use crate::lent::http::Http;
use crate::plugins::slot::Changes;
use crate::plugins::{self, Loader};

/// Host that is always offline.
struct Offline;

impl LogSink for Offline {
    fn write(&self, _line: &LogLine<'_>) {}
}

impl TwinAccess for Offline {
    fn report<'a>(
        &'a self,
        _plugin: &'a str,
        _patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async { Err(HostError::Offline) })
    }

    fn report_and_wait<'a>(
        &'a self,
        _plugin: &'a str,
        _patch: Map<String, Value>,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>> {
        Box::pin(async { Err(HostError::Offline) })
    }

    fn desired(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }

    fn reported(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }
}

impl TelemetrySink for Offline {
    fn send<'a>(
        &'a self,
        _plugin: &'a str,
        _body: Vec<u8>,
        _content_type: String,
        _properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async { Err(HostError::Offline) })
    }
}

/// Twin whose reports are never persisted.
struct Stuck;

impl TwinAccess for Stuck {
    fn report<'a>(
        &'a self,
        _plugin: &'a str,
        _patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(std::future::pending())
    }

    fn report_and_wait<'a>(
        &'a self,
        _plugin: &'a str,
        _patch: Map<String, Value>,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>> {
        Box::pin(std::future::pending())
    }

    fn desired(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }

    fn reported(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }
}

/// Returns a call that does not end once it reports to the twin.
pub(crate) fn stuck_call() -> Call<'static> {
    Call {
        id: "stuck".into(),
        method: "stuck",
        payload: "null",
        attempt: 1,
        boot_outcome: BootOutcome::NotWaitedFor,
        trace_parent: None,
        lent: Arc::new(Lent { twin: Arc::new(Stuck), ..lent() }),
    }
}

/// Returns a router with one fixture. `settings` is the TOML of the plugin's section.
fn router(fixture: &str, settings: &str) -> Arc<Router> {
    router_in(tempfile::tempdir().unwrap().path(), fixture, settings)
}

/// Like [`router`], with the fixture and relative paths in `directory`.
pub(crate) fn router_in(directory: &Path, fixture: &str, settings: &str) -> Arc<Router> {
    let file = fixtures::write(fixture, directory);
    let text = format!("[plugins.p]\nfile = {file:?}\n{settings}\n");
    let text = if settings.contains("methods") { text } else { text + "methods = [\"*\"]\n" };
    let config = Config::parse(&text, directory).unwrap();
    let loaded = plugins::load_all(&Loader::new(&config).unwrap(), &config).unwrap().remove("p");
    let patience = config.plugins["p"].patience;
    let slot = Arc::new(Slot::new("p", loaded.unwrap(), patience, Changes::new(())));
    let table = Table::new(&config.plugins, [("p".to_owned(), slot)].into());
    Arc::new(Router::new(table, lent(), None))
}

/// Returns handles with a real clock and without a hub.
pub(crate) fn lent() -> Lent {
    Lent {
        device_id: "d1".into(),
        clock: Arc::new(SystemClock),
        log: Arc::new(Offline),
        twin: Arc::new(Offline),
        telemetry: Arc::new(Offline),
        metrics: Arc::new(plugin::Nothing),
        state: Arc::new(plugin::Nothing),
        jobs: Arc::new(plugin::Nothing),
        power: Arc::new(plugin::Nothing),
        http: Arc::new(Http::default()),
    }
}

pub(crate) async fn answer(router: &Router, method: &str, payload: &str) -> (i32, Value) {
    let answer =
        router.answer(&"1".parse().unwrap(), &method.parse().unwrap(), payload.as_bytes()).await;
    (answer.status, serde_json::from_str(&answer.body).unwrap())
}

async fn check_failure(router: &Router, method: &str, payload: &str, status: i32, error: &str) {
    let (found, body) = answer(router, method, payload).await;
    assert_eq!((found, &body["error"]), (status, &json!(error)), "{method}: {body}");
    assert!(!body["message"].as_str().unwrap().is_empty());
    assert!(!body["call"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_method_is_answered_by_the_plugin_that_serves_it() {
    let router = router("reply.wat", "methods = [\"echo\"]");
    assert_eq!(answer(&router, "echo", r#"{"a":[1]}"#).await, (200, json!({"a": [1]})));
    assert_eq!(answer(&router, "echo", "").await, (200, Value::Null));
    check_failure(&router, "Echo", "1", 404, "unknown-method").await;
}

#[tokio::test]
async fn a_repeated_call_gets_the_answer_of_the_first_call() {
    let router = router("asks.wat", "idempotency_key = \"requestId\"");
    // The plugin's answer contains the id of the call.
    let first = answer(&router, "call", r#"{"requestId": "1"}"#).await;
    assert_eq!(answer(&router, "call", r#"{"requestId": "1", "try": 2}"#).await, first);
    assert_ne!(answer(&router, "call", r#"{"requestId": "2"}"#).await, first);
    assert_ne!(answer(&router, "c", r#"{"requestId": "1"}"#).await, first);
    let without = answer(&router, "call", "null").await;
    assert_ne!(answer(&router, "call", "null").await, without);
}

#[tokio::test]
async fn every_failure_has_its_own_status_and_code() {
    let loops = router("misbehaves.wat", "deadline = \"50ms\"");
    check_failure(&loops, "spin", "1", 504, "deadline-exceeded").await;
    check_failure(&loops, "trap", "1", 500, "trapped").await;
    check_failure(&loops, "grow", "1", 507, "out-of-memory").await;
    check_failure(&loops, "echo", "{", 400, "invalid-payload").await;
    let long = json!("x".repeat(128 * 1024)).to_string();
    check_failure(&loops, "echo", &long, 413, "too-large").await;
    assert_eq!(answer(&loops, "echo", "\"still here\"").await, (200, json!("still here")));
}

#[tokio::test]
async fn a_payload_that_is_not_utf_8_is_invalid() {
    let router = router("reply.wat", "");
    let answer = router.answer(&"1".parse().unwrap(), &"echo".parse().unwrap(), b"\"\xff\"").await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("invalid-payload"));
}

#[tokio::test]
async fn a_refusal_has_the_status_of_its_variant() {
    let answers = router("answers.wat", "");
    check_failure(&answers, "invalid", "1", 400, "refused").await;
    check_failure(&answers, "unknown", "1", 404, "refused").await;
    check_failure(&answers, "busy", "1", 429, "refused").await;
    check_failure(&answers, "failed", "1", 500, "refused").await;
    check_failure(&answers, "other", "1", 500, "refused").await;
    let (_, body) = answer(&answers, "busy", "1").await;
    assert_eq!(body["message"], "busy; try again in 250 ms");
}

#[tokio::test]
async fn a_bad_answer_does_not_reach_the_caller() {
    let answers = router("answers.wat", "");
    for method in ["json", "status", "huge"] {
        check_failure(&answers, method, "1", 502, "bad-answer").await;
    }
    assert_eq!(answer(&answers, "nothing", "1").await, (204, Value::Null));
}

#[tokio::test]
async fn a_call_beyond_the_limit_is_busy_and_the_running_call_continues() {
    let sleeps = router("sleeps.wat", "limits.calls_at_once = 1");
    let running = tokio::spawn({
        let sleeps = Arc::clone(&sleeps);
        async move { answer(&sleeps, "sleep", "20000").await }
    });
    tokio::task::yield_now().await;
    check_failure(&sleeps, "sleep", "20000", 429, "busy").await;
    sleeps.stop_calls();
    assert_eq!(running.await.unwrap().0, 503);
}

#[tokio::test]
async fn a_draining_host_rejects_new_calls() {
    let router = router("reply.wat", "");
    router.drain();
    check_failure(&router, "echo", "1", 503, "draining").await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_with_too_many_consecutive_failures_is_disabled_until_a_call_succeeds() {
    let router = router("misbehaves.wat", "disable_after = 2\nfailing_for = \"0s\"");
    for _ in 0..2 {
        check_failure(&router, "trap", "1", 500, "trapped").await;
    }
    check_failure(&router, "echo", "1", 503, "disabled").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(answer(&router, "echo", "1").await, (200, json!(1)));
    check_failure(&router, "trap", "1", 500, "trapped").await;
    assert_eq!(answer(&router, "echo", "1").await, (200, json!(1)));

    let counters = router.table().slot("p").unwrap().view().counters;
    assert_eq!((counters.trapped, counters.disabled, counters.disables), (3, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_its_plugin_to_load_and_is_then_rejected() {
    let text = "[plugins.p]\nfile = \"p\"\nmethods = [\"*\"]\n";
    let config = Config::parse(text, Path::new("")).unwrap();
    let slot = Arc::new(Slot::loading("p", config.plugins["p"].patience, Changes::new(())));
    let router =
        Router::new(Table::new(&config.plugins, [("p".to_owned(), slot)].into()), lent(), None);
    let begun = Instant::now();
    check_failure(&router, "m", "1", 503, "loading").await;
    assert_eq!(begun.elapsed(), LOADING_WAIT);
}

#[test]
fn a_method_with_a_malformed_name_is_answered_as_unknown() {
    let router = Router::new(Table::new(&Default::default(), Default::default()), lent(), None);
    let answer = router.refuse_malformed("method name `my m` has a ' '");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((answer.status, &body["error"]), (404, &json!("unknown-method")));
    assert_eq!(body["message"], "method name `my m` has a ' '");
    assert_eq!(body["call"], &*answer.call);
}
