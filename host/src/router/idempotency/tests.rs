//! Tests of repeated calls, with and without a restart of the host.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::cached::{MAX_ANSWERS, MAX_BYTES};
use super::*;
use crate::journal::tests::journal;

const TIME: Duration = Duration::from_secs(60);

fn key(text: &str) -> Key {
    key_of("p", text)
}

fn key_of(plugin: &str, text: &str) -> Key {
    Key { plugin: plugin.into(), method: "m".into(), text: text.into() }
}

fn answer(status: i32, body: impl Into<String>) -> Answer {
    Answer { status, body: body.into(), call: "c".into() }
}

fn idempotency(durable: bool) -> Idempotency {
    Idempotency { field: "id".into(), time: TIME, durable }
}

fn cache() -> IdempotencyCache {
    IdempotencyCache::new(None)
}

impl IdempotencyCache {
    async fn ask(&self, key: Key, call: impl Future<Output = Answer>) -> (Answer, bool) {
        self.answer(key, &idempotency(false), call).await
    }
}

#[test]
fn a_key_is_a_string_or_a_number_at_the_top_level_of_the_payload() {
    let idempotency = idempotency(false);
    let key = |payload: &str| idempotency.key("p", "m", payload.as_bytes()).map(|key| key.text);
    assert_eq!(key(r#"{"id": "7"}"#).as_deref(), Some("\"7\""));
    assert_eq!(key(r#"{"id": 7, "other": 1}"#).as_deref(), Some("7"));
    for without in ["", "null", "[7]", r#"{"id": null}"#, r#"{"a": {"id": 7}}"#, "{"] {
        assert_eq!(key(without), None, "{without}");
    }
}

#[test]
fn a_long_key_is_replaced_by_its_digest() {
    let idempotency = idempotency(false);
    let key = |text: &str| {
        let payload = serde_json::json!({ "id": text }).to_string();
        idempotency.key("p", "m", payload.as_bytes()).unwrap().text
    };
    let longest = "x".repeat(MAX_KEY_BYTES - 2);
    assert_eq!(key(&longest), format!("\"{longest}\""));
    let long = key(&"x".repeat(100_000));
    assert!(long.starts_with("sha256:") && long.len() < MAX_KEY_BYTES, "{long}");
    assert_eq!(key(&"x".repeat(100_000)), long);
    assert_ne!(key(&"x".repeat(100_001)), long);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_gets_the_first_answer_until_it_expires() {
    let cache = cache();
    let runs = AtomicUsize::new(0);
    let call = || async { answer(200, runs.fetch_add(1, Ordering::Relaxed).to_string()) };
    assert_eq!(cache.ask(key("1"), call()).await, (answer(200, "0"), true));
    assert_eq!(cache.ask(key("1"), call()).await, (answer(200, "0"), false));
    assert_eq!(cache.ask(key("2"), call()).await, (answer(200, "1"), true));

    tokio::time::advance(TIME).await;
    assert_eq!(cache.ask(key("1"), call()).await, (answer(200, "2"), true));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_waits_for_the_first_call_while_that_runs() {
    let cache = cache();
    let slow = async {
        tokio::time::sleep(TIME).await;
        answer(500, "first")
    };
    let never = async { panic!("the repeat runs") };

    let (first, repeat) = tokio::join!(cache.ask(key("1"), slow), cache.ask(key("1"), never));

    assert_eq!(first, (answer(500, "first"), true));
    assert_eq!(repeat, (answer(500, "first"), false));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_asks_for_a_retry_is_not_cached_and_neither_is_a_dropped_call() {
    let cache = cache();
    let call = |status| async move { answer(status, "") };
    for status in RETRY_STATUSES {
        assert!(cache.ask(key("1"), call(status)).await.1);
    }
    let hangs = cache.ask(key("1"), std::future::pending());
    assert!(tokio::time::timeout(TIME, hangs).await.is_err());

    assert_eq!(cache.ask(key("1"), call(200)).await, (answer(200, ""), true));
}

#[tokio::test(start_paused = true)]
async fn the_number_and_size_of_answers_are_limited() {
    let cache = cache();
    let big = "x".repeat(128 * 1024);
    for number in 0..2 * MAX_ANSWERS {
        let body = if number % 2 == 0 { big.as_str() } else { "" };
        cache.ask(key(&number.to_string()), async { answer(200, body) }).await;
        let cached = cache.answers.lock();
        assert!(cached.bytes <= MAX_BYTES && cached.answers <= MAX_ANSWERS);
        let share = &cached.shares["p"];
        assert_eq!((cached.calls.len(), cached.bytes), (share.answered.len(), share.bytes));
        assert_eq!(cached.answers, cached.calls.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_with_many_answers_evicts_only_its_own() {
    let cache = cache();
    let big = "x".repeat(128 * 1024);
    cache.ask(key_of("small", "1"), async { answer(200, "cached") }).await;
    for number in 0..2 * MAX_BYTES / big.len() {
        cache.ask(key(&number.to_string()), async { answer(200, big.as_str()) }).await;
    }
    for number in 0..2 * MAX_ANSWERS {
        cache.ask(key(&format!("n{number}")), async { answer(200, "") }).await;
    }
    let again = cache.ask(key_of("small", "1"), async { panic!("it runs again") }).await;
    assert_eq!(again, (answer(200, "cached"), false));
}

#[tokio::test]
async fn a_durable_answer_survives_a_restart_until_it_expires() {
    let directory = tempfile::tempdir().unwrap();
    let (durable, other) = (idempotency(true), idempotency(false));
    {
        let journal = Arc::new(journal(&directory));
        let first = IdempotencyCache::new(Some(Arc::clone(&journal)));
        first.answer(key("1"), &durable, async { answer(202, "first") }).await;
        first.answer(key("2"), &other, async { answer(202, "first") }).await;
        let brief = Idempotency { time: Duration::ZERO, ..durable.clone() };
        first.answer(key("3"), &brief, async { answer(202, "first") }).await;
        // The records are read while the journal is open, as after a crash.
        assert_eq!(Mirrored::<CachedAnswers>::found(&journal).len(), 2);
        journal.close().await;
    }

    let journal = Arc::new(journal(&directory));
    let second = IdempotencyCache::new(Some(Arc::clone(&journal)));
    let again = async |text: &str| {
        second.answer(key(text), &durable, async { answer(202, "second") }).await
    };
    assert_eq!(again("1").await, (answer(202, "first"), false));
    assert_eq!(again("2").await, (answer(202, "second"), true));
    assert_eq!(again("3").await, (answer(202, "second"), true));
    assert_eq!(Mirrored::<CachedAnswers>::found(&journal).len(), 3);
    journal.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_extend_the_lifetime_of_an_answer() {
    let directory = tempfile::tempdir().unwrap();
    let first = IdempotencyCache::new(Some(Arc::new(journal(&directory))));
    first.answer(key("1"), &idempotency(true), async { answer(202, "") }).await;
    first.journal.as_ref().unwrap().close().await;
    let journal = journal(&directory);
    for (wall, left) in [("1970-01-01T00:00:00Z", TIME), ("2500-01-01T00:00:00Z", Duration::ZERO)] {
        let mut cached = CachedAnswers::default();
        let now = Instant::now();
        cached.restore(Mirrored::<CachedAnswers>::found(&journal), wall.parse().unwrap(), now);
        let found = match cached.calls.get(&key("1")) {
            Some(FirstCall::Answered(cached)) => cached.until - now,
            _ => Duration::ZERO,
        };
        assert_eq!(found, left, "{wall}");
    }
    journal.close().await;
}
