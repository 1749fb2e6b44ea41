//! Repeats of calls, in one run of the host and over a restart.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::kept::{MOST_ANSWERS, MOST_BYTES};
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
fn a_key_is_a_text_or_a_number_at_the_top_of_the_payload() {
    let idempotency = idempotency(false);
    let key = |payload: &str| idempotency.key("p", "m", payload.as_bytes()).map(|key| key.text);
    assert_eq!(key(r#"{"id": "7"}"#).as_deref(), Some("\"7\""));
    assert_eq!(key(r#"{"id": 7, "other": 1}"#).as_deref(), Some("7"));
    for without in ["", "null", "[7]", r#"{"id": null}"#, r#"{"a": {"id": 7}}"#, "{"] {
        assert_eq!(key(without), None, "{without}");
    }
}

#[test]
fn a_long_key_is_kept_as_its_digest() {
    let idempotency = idempotency(false);
    let key = |text: &str| {
        let payload = serde_json::json!({ "id": text }).to_string();
        idempotency.key("p", "m", payload.as_bytes()).unwrap().text
    };
    let longest = "x".repeat(MOST_KEY_BYTES - 2);
    assert_eq!(key(&longest), format!("\"{longest}\""));
    let long = key(&"x".repeat(100_000));
    assert!(long.starts_with("sha256:") && long.len() < MOST_KEY_BYTES, "{long}");
    assert_eq!(key(&"x".repeat(100_000)), long);
    assert_ne!(key(&"x".repeat(100_001)), long);
}

#[tokio::test(start_paused = true)]
async fn a_repeat_gets_the_first_answer_until_its_time_is_over() {
    let repeats = cache();
    let runs = AtomicUsize::new(0);
    let call = || async { answer(200, runs.fetch_add(1, Ordering::Relaxed).to_string()) };
    assert_eq!(repeats.ask(key("1"), call()).await, (answer(200, "0"), true));
    assert_eq!(repeats.ask(key("1"), call()).await, (answer(200, "0"), false));
    assert_eq!(repeats.ask(key("2"), call()).await, (answer(200, "1"), true));

    tokio::time::advance(TIME).await;
    assert_eq!(repeats.ask(key("1"), call()).await, (answer(200, "2"), true));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_waits_for_the_first_that_still_runs() {
    let repeats = cache();
    let slow = async {
        tokio::time::sleep(TIME).await;
        answer(500, "first")
    };
    let never = async { panic!("the repeat runs") };

    let (first, repeat) = tokio::join!(repeats.ask(key("1"), slow), repeats.ask(key("1"), never));

    assert_eq!(first, (answer(500, "first"), true));
    assert_eq!(repeat, (answer(500, "first"), false));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_told_to_try_again_or_was_dropped_leaves_nothing() {
    let repeats = cache();
    let call = |status| async move { answer(status, "") };
    for status in NOT_KEPT {
        assert!(repeats.ask(key("1"), call(status)).await.1);
    }
    let hangs = repeats.ask(key("1"), std::future::pending());
    assert!(tokio::time::timeout(TIME, hangs).await.is_err());

    assert_eq!(repeats.ask(key("1"), call(200)).await, (answer(200, ""), true));
}

#[tokio::test(start_paused = true)]
async fn number_and_bytes_have_an_end() {
    let repeats = cache();
    let big = "x".repeat(128 * 1024);
    for number in 0..2 * MOST_ANSWERS {
        let body = if number % 2 == 0 { big.as_str() } else { "" };
        repeats.ask(key(&number.to_string()), async { answer(200, body) }).await;
        let kept = repeats.kept.lock();
        assert!(kept.bytes <= MOST_BYTES && kept.answers <= MOST_ANSWERS);
        let share = &kept.shares["p"];
        assert_eq!((kept.calls.len(), kept.bytes), (share.answered.len(), share.bytes));
        assert_eq!(kept.answers, kept.calls.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_plugin_with_many_answers_pushes_out_its_own() {
    let repeats = cache();
    let big = "x".repeat(128 * 1024);
    repeats.ask(key_of("small", "1"), async { answer(200, "kept") }).await;
    for number in 0..2 * MOST_BYTES / big.len() {
        repeats.ask(key(&number.to_string()), async { answer(200, big.as_str()) }).await;
    }
    for number in 0..2 * MOST_ANSWERS {
        repeats.ask(key(&format!("n{number}")), async { answer(200, "") }).await;
    }
    let again = repeats.ask(key_of("small", "1"), async { panic!("it runs again") }).await;
    assert_eq!(again, (answer(200, "kept"), false));
}

#[tokio::test]
async fn a_durable_answer_outlives_the_process_until_its_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let (durable, other) = (idempotency(true), idempotency(false));
    {
        let journal = Arc::new(journal(&directory));
        let first = IdempotencyCache::new(Some(Arc::clone(&journal)));
        first.answer(key("1"), &durable, async { answer(202, "first") }).await;
        first.answer(key("2"), &other, async { answer(202, "first") }).await;
        let brief = Idempotency { time: Duration::ZERO, ..durable.clone() };
        first.answer(key("3"), &brief, async { answer(202, "first") }).await;
        // As if it was killed: nothing is written but what was waited for.
        assert_eq!(Mirrored::<KeptAnswers>::found(&journal).len(), 2);
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
    assert_eq!(Mirrored::<KeptAnswers>::found(&journal).len(), 3);
    journal.close().await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_no_answer_is_kept_for_longer_than_its_time() {
    let directory = tempfile::tempdir().unwrap();
    let first = IdempotencyCache::new(Some(Arc::new(journal(&directory))));
    first.answer(key("1"), &idempotency(true), async { answer(202, "") }).await;
    first.journal.as_ref().unwrap().close().await;
    let journal = journal(&directory);
    for (wall, left) in [("1970-01-01T00:00:00Z", TIME), ("2500-01-01T00:00:00Z", Duration::ZERO)] {
        let mut kept = KeptAnswers::default();
        let now = Instant::now();
        kept.restore(Mirrored::<KeptAnswers>::found(&journal), wall.parse().unwrap(), now);
        let found = match kept.calls.get(&key("1")) {
            Some(First::Answered(kept)) => kept.until - now,
            _ => Duration::ZERO,
        };
        assert_eq!(found, left, "{wall}");
    }
    journal.close().await;
}
