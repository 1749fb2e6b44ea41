//! Repeated methods: the answer of the first call, instead of a second run.
//!
//! A caller that was cut off does not know whether its method ran, and calls
//! again. If a plugin's entry names a field of the payload as its idempotency
//! key, a repeat of the same method with the same key gets the answer of the
//! first, also while that still runs. An answer that asks for a retry, 429 or 503, is
//! not kept: nothing was done.
//!
//! The cache is bounded in time, number and bytes, and each plugin has its share of it.
//! It ends with the process, but for plugins that may reboot the machine: their answers
//! are on disk before they leave, since a caller that was cut off by a reboot would
//! ask for the next one.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

use super::answer::Answer;
use crate::journal::{Journal, Mirrored};
use kept::{First, KeptAnswer, KeptAnswers, Said};

mod kept;
#[cfg(test)]
mod tests;

/// The longest key that is kept whole. Of a longer one the digest is kept, so that a
/// caller cannot fill the cache with keys.
const MOST_KEY_BYTES: usize = 256;

/// Statuses that ask for a retry.
const NOT_KEPT: [i32; 2] = [429, 503];

/// Settings for repeated calls of a plugin's methods, `[plugins.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idempotency {
    /// The field of the payload that has the key.
    pub(crate) field: String,
    /// Time after the first answer in which a repeated call gets the same answer.
    pub(crate) time: Duration,
    /// `true` if the answers outlive the process.
    pub(crate) durable: bool,
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
        let text = if text.len() > MOST_KEY_BYTES { digest(&text) } else { text };
        Some(Key { plugin: plugin.into(), method: method.into(), text })
    }
}

/// Returns the digest of a key, which is equal to no key: it is neither a number nor in
/// quotes.
fn digest(text: &str) -> String {
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(text) {
        // Writing to a string does not fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    plugin: String,
    method: String,
    text: String,
}

pub(crate) struct IdempotencyCache {
    kept: Arc<Mirrored<KeptAnswers>>,
    /// `None`: no answer outlives the process.
    journal: Option<Arc<Journal>>,
}

/// Place of a running call. Dropped without an answer, it is free again.
struct Running<'a> {
    cache: &'a IdempotencyCache,
    key: Option<Key>,
    say: watch::Sender<Said>,
}

impl IdempotencyCache {
    /// Begins with the answers in the journal, if there is one.
    pub(crate) fn new(journal: Option<Arc<Journal>>) -> IdempotencyCache {
        let mut kept = KeptAnswers::default();
        if let Some(journal) = &journal {
            let found = Mirrored::<KeptAnswers>::found(journal);
            kept.restore(found, Timestamp::now(), Instant::now());
        }
        IdempotencyCache { kept: Mirrored::new(kept, journal.as_deref()), journal }
    }

    /// Returns the answer of the first call with this key. If this call is the first, or
    /// the previous one ended without an answer, `call` is run. The flag says whether it
    /// was.
    pub(crate) async fn answer(
        &self,
        key: Key,
        idempotency: &Idempotency,
        call: impl Future<Output = Answer>,
    ) -> (Answer, bool) {
        let running = loop {
            let mut first = match self.begin(&key) {
                Ok(running) => break running,
                Err(First::Answered(kept)) => return (kept.answer.as_ref().clone(), false),
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
        let is_kept = running.end(&answer, idempotency);
        if let Some(journal) = self.journal.as_ref().filter(|_| is_kept && idempotency.durable)
            && let Err(error) = journal.flush().await
        {
            warn!(call = %answer.call, "a repeat after a restart would run again: {error}");
        }
        (answer, true)
    }

    fn begin(&self, key: &Key) -> Result<Running<'_>, First> {
        let say = self.kept.lock().begin(key, Instant::now())?;
        Ok(Running { cache: self, key: Some(key.clone()), say })
    }
}

impl Running<'_> {
    /// Says whether the answer is kept.
    fn end(mut self, answer: &Answer, idempotency: &Idempotency) -> bool {
        if NOT_KEPT.contains(&answer.status) {
            return false;
        }
        let Some(key) = self.key.take() else { return false };
        let answer = Arc::new(answer.clone());
        self.say.send_replace(Some(Arc::clone(&answer)));
        let kept = KeptAnswer::new(answer, idempotency, Timestamp::now(), Instant::now());
        self.cache.kept.lock().keep(key, kept);
        true
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.cache.kept.lock().give_up(&key);
        }
    }
}
