//! Repeated methods: the answer of the first call, instead of a second run.
//!
//! A caller that was cut off does not know whether its method ran, and calls
//! again. If a plugin's entry names a field of the payload as its idempotency
//! key, a repeat of the same method with the same key gets the answer of the
//! first, also while that still runs. An answer that asks for a retry, 429 or 503, is
//! not kept: nothing was done.
//!
//! The cache is bounded in time, number and bytes, and ends with the process.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::Answer;

/// Answers that are kept at once, of all plugins, and their bytes with those of
/// their keys. The oldest goes first.
const MOST_ANSWERS: usize = 4096;
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Statuses that ask for a retry.
const NOT_KEPT: [i32; 2] = [429, 503];

/// Settings for repeated calls of a plugin's methods, `[plugins.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idempotency {
    /// The field of the payload that has the key.
    pub(crate) field: String,
    /// Time after the first answer in which a repeated call gets the same answer.
    pub(crate) time: Duration,
}

impl Idempotency {
    /// Returns the key that identifies a call; `None` if it has none, and runs.
    pub(crate) fn key(&self, plugin: &str, method: &str, payload: &[u8]) -> Option<Key> {
        let payload: Value = serde_json::from_slice(payload).ok()?;
        let text = match payload.get(&self.field)? {
            // In quotes, so that "7" is not 7.
            key @ (Value::String(_) | Value::Number(_)) => key.to_string(),
            _ => return None,
        };
        Some(Key { plugin: plugin.into(), method: method.into(), text })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    plugin: String,
    method: String,
    text: String,
}

#[derive(Default)]
pub(crate) struct IdempotencyCache {
    kept: Mutex<KeptAnswers>,
}

#[derive(Default)]
struct KeptAnswers {
    calls: HashMap<Key, First>,
    /// Those that are answered, the oldest answer first.
    answered: VecDeque<Key>,
    bytes: usize,
}

/// The first call with a key.
enum First {
    Running(watch::Receiver<Option<Arc<Answer>>>),
    /// Until then.
    Answered(Arc<Answer>, Instant),
}

/// Place of a running call. Dropped without an answer, it is free again.
struct Running<'a> {
    repeats: &'a IdempotencyCache,
    key: Option<Key>,
    say: watch::Sender<Option<Arc<Answer>>>,
}

impl IdempotencyCache {
    /// Returns the answer of the first call with this key. If this call is the first, or
    /// the previous one ended without an answer, `call` is run. The flag says whether it
    /// was.
    pub(crate) async fn answer(
        &self,
        key: Key,
        time: Duration,
        call: impl Future<Output = Answer>,
    ) -> (Answer, bool) {
        let running = loop {
            let mut first = match self.begin(&key) {
                Ok(running) => break running,
                Err(First::Answered(answer, _)) => return (Answer::clone(&answer), false),
                Err(First::Running(first)) => first,
            };
            // Without an answer the place is free, and this call may be the first.
            if let Ok(answer) = first.wait_for(Option::is_some).await
                && let Some(answer) = &*answer
            {
                return (Answer::clone(answer), false);
            }
        };
        let answer = call.await;
        running.end(&answer, time);
        (answer, true)
    }

    fn begin(&self, key: &Key) -> Result<Running<'_>, First> {
        let mut kept = self.lock();
        match kept.calls.get(key) {
            Some(First::Running(first)) => return Err(First::Running(first.clone())),
            Some(First::Answered(answer, until)) if *until > Instant::now() => {
                return Err(First::Answered(Arc::clone(answer), *until));
            }
            Some(First::Answered(..)) => kept.forget(key),
            None => {}
        }
        let (say, first) = watch::channel(None);
        kept.calls.insert(key.clone(), First::Running(first));
        Ok(Running { repeats: self, key: Some(key.clone()), say })
    }

    fn lock(&self) -> MutexGuard<'_, KeptAnswers> {
        self.kept.lock()
    }
}

impl Running<'_> {
    fn end(mut self, answer: &Answer, time: Duration) {
        if NOT_KEPT.contains(&answer.status) {
            return;
        }
        let Some(key) = self.key.take() else { return };
        let answer = Arc::new(answer.clone());
        self.say.send_replace(Some(Arc::clone(&answer)));
        self.repeats.lock().keep(key, answer, Instant::now() + time);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.repeats.lock().calls.remove(&key);
        }
    }
}

impl KeptAnswers {
    fn keep(&mut self, key: Key, answer: Arc<Answer>, until: Instant) {
        self.bytes += size(&key, &answer);
        self.answered.push_back(key.clone());
        self.calls.insert(key, First::Answered(answer, until));
        while self.answered.len() > MOST_ANSWERS || self.bytes > MOST_BYTES {
            let Some(oldest) = self.answered.front().cloned() else { return };
            self.forget(&oldest);
        }
    }

    fn forget(&mut self, key: &Key) {
        let at = self.answered.iter().position(|known| known == key);
        at.map(|at| self.answered.remove(at));
        if let Some(First::Answered(answer, _)) = self.calls.remove(key) {
            self.bytes -= size(key, &answer);
        }
    }
}

fn size(key: &Key, answer: &Answer) -> usize {
    key.plugin.len() + key.method.len() + key.text.len() + answer.body.len()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const TIME: Duration = Duration::from_secs(60);

    fn key(text: &str) -> Key {
        Key { plugin: "p".into(), method: "m".into(), text: text.into() }
    }

    fn answer(status: i32, body: impl Into<String>) -> Answer {
        Answer { status, body: body.into(), call: "c".into() }
    }

    #[test]
    fn a_key_is_a_text_or_a_number_at_the_top_of_the_payload() {
        let idempotency = Idempotency { field: "id".into(), time: TIME };
        let key = |payload: &str| idempotency.key("p", "m", payload.as_bytes()).map(|key| key.text);
        assert_eq!(key(r#"{"id": "7"}"#).as_deref(), Some("\"7\""));
        assert_eq!(key(r#"{"id": 7, "other": 1}"#).as_deref(), Some("7"));
        for without in ["", "null", "[7]", r#"{"id": null}"#, r#"{"a": {"id": 7}}"#, "{"] {
            assert_eq!(key(without), None, "{without}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeat_gets_the_first_answer_until_its_time_is_over() {
        let repeats = IdempotencyCache::default();
        let runs = AtomicUsize::new(0);
        let call = || async { answer(200, runs.fetch_add(1, Ordering::Relaxed).to_string()) };
        assert_eq!(repeats.answer(key("1"), TIME, call()).await, (answer(200, "0"), true));
        assert_eq!(repeats.answer(key("1"), TIME, call()).await, (answer(200, "0"), false));
        assert_eq!(repeats.answer(key("2"), TIME, call()).await, (answer(200, "1"), true));

        tokio::time::advance(TIME).await;
        assert_eq!(repeats.answer(key("1"), TIME, call()).await, (answer(200, "2"), true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeat_waits_for_the_first_that_still_runs() {
        let repeats = IdempotencyCache::default();
        let slow = async {
            tokio::time::sleep(TIME).await;
            answer(500, "first")
        };
        let never = async { panic!("the repeat runs") };

        let (first, repeat) = tokio::join!(
            repeats.answer(key("1"), TIME, slow),
            repeats.answer(key("1"), TIME, never)
        );

        assert_eq!(first, (answer(500, "first"), true));
        assert_eq!(repeat, (answer(500, "first"), false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_told_to_try_again_or_was_dropped_leaves_nothing() {
        let repeats = IdempotencyCache::default();
        let call = |status| async move { answer(status, "") };
        for status in NOT_KEPT {
            assert!(repeats.answer(key("1"), TIME, call(status)).await.1);
        }
        let hangs = repeats.answer(key("1"), TIME, std::future::pending());
        assert!(tokio::time::timeout(TIME, hangs).await.is_err());

        assert_eq!(repeats.answer(key("1"), TIME, call(200)).await, (answer(200, ""), true));
    }

    #[tokio::test(start_paused = true)]
    async fn number_and_bytes_have_an_end() {
        let repeats = IdempotencyCache::default();
        let big = "x".repeat(128 * 1024);
        for number in 0..2 * MOST_ANSWERS {
            let body = if number % 2 == 0 { big.as_str() } else { "" };
            let call = async { answer(200, body) };
            repeats.answer(key(&number.to_string()), TIME, call).await;
            let kept = repeats.lock();
            assert!(kept.bytes <= MOST_BYTES && kept.answered.len() <= MOST_ANSWERS);
            assert_eq!(kept.calls.len(), kept.answered.len());
        }
    }
}
