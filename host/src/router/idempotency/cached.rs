//! Cached answers by call key.
//!
//! The state machine has no clock and no I/O: the caller passes the time, and the journal
//! fetches the records to persist.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Idempotency, Key};
use crate::journal::{Persistent, RecordKind};
use crate::router::answer::Answer;

/// Maximum number of answers of all plugins. Beyond it, the oldest answer of the plugin with
/// the most answers is evicted.
pub(super) const MAX_ANSWERS: usize = 4096;

/// Maximum size of all answers with their keys, in bytes. Beyond it, the oldest answer of the
/// plugin with the most bytes is evicted.
pub(super) const MAX_BYTES: usize = 8 * 1024 * 1024;

/// The running calls and the cached answers of all plugins.
#[derive(Default)]
pub(super) struct CachedAnswers {
    pub(super) calls: HashMap<Key, FirstCall>,
    /// The cached answers by plugin.
    pub(super) shares: HashMap<String, Share>,
    /// The number of cached answers.
    pub(super) answers: usize,
    /// The size of the cached answers and their keys, in bytes.
    pub(super) bytes: usize,
    /// Keys whose records are not yet persisted; `true` while a write is in flight.
    unsaved: HashMap<Key, bool>,
}

/// The cached answers of one plugin.
#[derive(Default)]
pub(super) struct Share {
    /// The keys of the answers, the oldest first.
    pub(super) answered: VecDeque<Key>,
    pub(super) bytes: usize,
}

/// The answer of a running call, or `None` until it ends.
pub(super) type PendingAnswer = Option<Arc<Answer>>;

/// The first call with a key.
#[derive(Clone)]
pub(super) enum FirstCall {
    Running(watch::Receiver<PendingAnswer>),
    Answered(CachedAnswer),
}

/// A cached answer.
#[derive(Clone)]
pub(super) struct CachedAnswer {
    pub(super) answer: Arc<Answer>,
    /// The time of expiry.
    pub(super) until: Instant,
    /// Time of expiry on the wall clock and total time in the cache, both in milliseconds;
    /// `None` if the answer is not persisted.
    durable: Option<(i64, u64)>,
}

/// The persisted form of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AnswerRecord {
    status: i32,
    body: String,
    call: String,
    until_ms: i64,
    time_ms: u64,
}

impl CachedAnswer {
    pub(super) fn new(
        answer: Arc<Answer>,
        idempotency: &Idempotency,
        wall: Timestamp,
        now: Instant,
    ) -> CachedAnswer {
        let Idempotency { time, durable, .. } = *idempotency;
        let until_ms = wall.saturating_add(time).unwrap_or(Timestamp::MAX).as_millisecond();
        let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        CachedAnswer { answer, until: now + time, durable: durable.then_some((until_ms, time_ms)) }
    }

    /// Returns the record to persist, or `None` if the answer is not persisted.
    fn record(&self) -> Option<AnswerRecord> {
        let (until_ms, time_ms) = self.durable?;
        let Answer { status, body, call } = &*self.answer;
        Some(AnswerRecord {
            status: *status,
            body: body.clone(),
            call: call.as_ref().to_owned(),
            until_ms,
            time_ms,
        })
    }
}

impl CachedAnswers {
    /// Adds persisted answers. The wall clock determines the remaining time, which never
    /// exceeds the total time.
    pub(super) fn restore(
        &mut self,
        mut found: Vec<(Key, AnswerRecord)>,
        wall: Timestamp,
        now: Instant,
    ) {
        found.sort_by_key(|(_, record)| record.until_ms);
        for (key, AnswerRecord { status, body, call, until_ms, time_ms }) in found {
            let left = until_ms.saturating_sub(wall.as_millisecond());
            let left = u64::try_from(left).unwrap_or(0).min(time_ms);
            if left == 0 {
                self.unsaved.insert(key, false);
                continue;
            }
            let answer = Arc::new(Answer { status, body, call: call.into() });
            let until = now + Duration::from_millis(left);
            self.insert(key, CachedAnswer { answer, until, durable: Some((until_ms, time_ms)) });
        }
    }

    /// Adds the entry of a running call, or returns the existing entry of a running or answered
    /// call.
    pub(super) fn begin(
        &mut self,
        key: &Key,
        now: Instant,
    ) -> Result<watch::Sender<PendingAnswer>, FirstCall> {
        match self.calls.get(key) {
            Some(FirstCall::Answered(cached)) if cached.until <= now => self.remove(key),
            Some(first) => return Err(first.clone()),
            None => {}
        }
        let (answer_tx, first) = watch::channel(None);
        self.calls.insert(key.clone(), FirstCall::Running(first));
        Ok(answer_tx)
    }

    /// Removes the entry of a call that ended without an answer.
    pub(super) fn abandon(&mut self, key: &Key) {
        self.calls.remove(key);
    }

    /// Caches an answer, and evicts others until the cache is within its limits.
    pub(super) fn insert(&mut self, key: Key, cached: CachedAnswer) {
        let bytes = size(&key, &cached.answer);
        let share = self.shares.entry(key.plugin.clone()).or_default();
        share.answered.push_back(key.clone());
        share.bytes += bytes;
        self.answers += 1;
        self.bytes += bytes;
        if cached.durable.is_some() {
            self.unsaved.insert(key.clone(), false);
        }
        self.calls.insert(key, FirstCall::Answered(cached));
        while let Some(oldest) = self.to_evict().cloned() {
            self.remove(&oldest);
        }
    }

    /// Returns the key of the answer to evict, or `None` if the cache is within its limits.
    fn to_evict(&self) -> Option<&Key> {
        let shares = self.shares.values();
        let largest = if self.bytes > MAX_BYTES {
            shares.max_by_key(|share| share.bytes)
        } else if self.answers > MAX_ANSWERS {
            shares.max_by_key(|share| share.answered.len())
        } else {
            None
        };
        largest?.answered.front()
    }

    /// Removes a cached answer.
    fn remove(&mut self, key: &Key) {
        let Some(FirstCall::Answered(cached)) = self.calls.remove(key) else { return };
        let bytes = size(key, &cached.answer);
        self.answers -= 1;
        self.bytes -= bytes;
        if cached.durable.is_some() {
            self.unsaved.insert(key.clone(), false);
        }
        let Some(share) = self.shares.get_mut(&key.plugin) else { return };
        share.bytes -= bytes;
        let at = share.answered.iter().position(|known| known == key);
        at.map(|at| share.answered.remove(at));
        if share.answered.is_empty() {
            self.shares.remove(&key.plugin);
        }
    }
}

/// Returns the size of an answer and its key, in bytes.
fn size(key: &Key, answer: &Answer) -> usize {
    key.plugin.len() + key.method.len() + key.text.len() + answer.body.len()
}

impl Persistent for CachedAnswers {
    const KIND: RecordKind = RecordKind::Answer;
    type Record = AnswerRecord;
    type Found = (Key, AnswerRecord);

    fn unsaved(&mut self) -> Vec<(Vec<u8>, Option<AnswerRecord>)> {
        self.unsaved.values_mut().for_each(|in_flight| *in_flight = true);
        let record = |key: &Key| match self.calls.get(key)? {
            FirstCall::Answered(cached) => cached.record(),
            FirstCall::Running(_) => None,
        };
        let bytes = |key: &Key| serde_json::to_vec(key).expect("a key is JSON");
        self.unsaved.keys().map(|key| (bytes(key), record(key))).collect()
    }

    fn saved(&mut self, written: bool) {
        if written {
            self.unsaved.retain(|_, in_flight| !*in_flight);
        }
    }

    fn lost(&mut self) {
        let durable = self.calls.iter().filter(
            |(_, call)| matches!(call, FirstCall::Answered(cached) if cached.durable.is_some()),
        );
        let keys: Vec<Key> = durable.map(|(key, _)| key.clone()).collect();
        self.unsaved.extend(keys.into_iter().map(|key| (key, false)));
    }

    fn write(record: &AnswerRecord) -> Vec<u8> {
        serde_json::to_vec(record).expect("an answer is JSON")
    }

    fn read(key: &[u8], value: &[u8]) -> Option<(Key, AnswerRecord)> {
        Some((serde_json::from_slice(key).ok()?, serde_json::from_slice(value).ok()?))
    }
}
