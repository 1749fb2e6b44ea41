//! Answers to repeated calls, which get the answer of the first call without running again.
//!
//! A caller that loses its connection does not know whether the method ran, and calls again. If
//! a plugin's configuration names a field of the payload as the idempotency key, calls of a
//! method with the same key share one answer; a repeat waits while the first call runs. Answers
//! that ask for a retry (429, 503) are not cached, because the plugin has done nothing.
//!
//! The cache is limited in time, number and bytes. Beyond a limit, it evicts answers of the
//! plugin that uses most of it. Answers of plugins that can reboot the machine are persisted
//! before they are sent, because their callers lose the connection in the reboot and would
//! otherwise request another one. All other answers are lost in a restart.

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
use cached::{CachedAnswer, CachedAnswers, FirstCall, PendingAnswer};

mod cached;
#[cfg(test)]
mod tests;

/// Maximum length of a cached key in bytes. A longer key is replaced by its digest, so that
/// callers cannot fill the cache with keys.
const MAX_KEY_BYTES: usize = 256;

/// Statuses that ask for a retry, whose answers are not cached.
const RETRY_STATUSES: [i32; 2] = [429, 503];

/// Settings for repeated calls of a plugin, from `[plugins.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Idempotency {
    /// Name of the payload field that contains the key.
    pub(crate) field: String,
    /// Time for which an answer is cached.
    pub(crate) time: Duration,
    /// `true` if the answers survive a restart.
    pub(crate) durable: bool,
}

impl Idempotency {
    /// Returns the key that identifies a call, or `None` if its payload has no key.
    pub(crate) fn key(&self, plugin: &str, method: &str, payload: &[u8]) -> Option<Key> {
        let payload: Value = serde_json::from_slice(payload).ok()?;
        let text = match payload.get(&self.field)? {
            // Strings keep their quotes, so that the key "7" differs from 7.
            key @ (Value::String(_) | Value::Number(_)) => key.to_string(),
            _ => return None,
        };
        let text = if text.len() > MAX_KEY_BYTES { digest(&text) } else { text };
        Some(Key { plugin: plugin.into(), method: method.into(), text })
    }
}

/// Returns the digest of a key. A digest differs from every key, because it is neither a number
/// nor quoted.
fn digest(text: &str) -> String {
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(text) {
        // Writing to a string never fails.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

/// Identity of a call that can be repeated.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Key {
    plugin: String,
    method: String,
    /// Key from the payload as JSON, or its digest.
    text: String,
}

/// Answers of calls with a key.
pub(crate) struct IdempotencyCache {
    answers: Arc<Mirrored<CachedAnswers>>,
    /// `None` if no answer survives a restart.
    journal: Option<Arc<Journal>>,
}

/// Guard for the entry of a running call, which removes the entry if the call ends without an
/// answer.
struct Running<'a> {
    cache: &'a IdempotencyCache,
    key: Option<Key>,
    answer_tx: watch::Sender<PendingAnswer>,
}

impl IdempotencyCache {
    /// Creates a cache with the answers from the journal, if there is one.
    pub(crate) fn new(journal: Option<Arc<Journal>>) -> IdempotencyCache {
        let mut cached = CachedAnswers::default();
        if let Some(journal) = &journal {
            let found = Mirrored::<CachedAnswers>::found(journal);
            cached.restore(found, Timestamp::now(), Instant::now());
        }
        IdempotencyCache { answers: Mirrored::new(cached, journal.as_deref()), journal }
    }

    /// Returns the answer of the first call with this key. Runs `call` if this is the first
    /// one, or if the previous one ended without an answer. The returned flag is `true` if
    /// `call` ran.
    pub(crate) async fn answer(
        &self,
        key: Key,
        idempotency: &Idempotency,
        call: impl Future<Output = Answer>,
    ) -> (Answer, bool) {
        let running = loop {
            let mut first = match self.begin(&key) {
                Ok(running) => break running,
                Err(FirstCall::Answered(cached)) => return (cached.answer.as_ref().clone(), false),
                Err(FirstCall::Running(first)) => first,
            };
            // Without an answer, the loop starts again, because this call may now be the first.
            if let Ok(answer) = first.wait_for(Option::is_some).await
                && let Some(answer) = &*answer
            {
                return (Answer::clone(answer), false);
            }
        };
        let answer = call.await;
        let is_cached = running.end(&answer, idempotency);
        if let Some(journal) = self.journal.as_ref().filter(|_| is_cached && idempotency.durable)
            && let Err(error) = journal.flush().await
        {
            warn!(call = %answer.call, "a repeat after a restart would run again: {error}");
        }
        (answer, true)
    }

    /// Adds the entry of a running call, or returns the existing entry.
    fn begin(&self, key: &Key) -> Result<Running<'_>, FirstCall> {
        let answer_tx = self.answers.lock().begin(key, Instant::now())?;
        Ok(Running { cache: self, key: Some(key.clone()), answer_tx })
    }
}

impl Running<'_> {
    /// Caches the answer and passes it to waiting repeats. Returns `false` if the answer asks
    /// for a retry, which is not cached.
    fn end(mut self, answer: &Answer, idempotency: &Idempotency) -> bool {
        if RETRY_STATUSES.contains(&answer.status) {
            return false;
        }
        let Some(key) = self.key.take() else { return false };
        let answer = Arc::new(answer.clone());
        self.answer_tx.send_replace(Some(Arc::clone(&answer)));
        let cached = CachedAnswer::new(answer, idempotency, Timestamp::now(), Instant::now());
        self.cache.answers.lock().insert(key, cached);
        true
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.cache.answers.lock().abandon(&key);
        }
    }
}
