//! Kept answers, by the key of their call.
//!
//! A state machine without a clock or a disk: the caller passes the time, and the
//! journal asks for the records of the answers that outlive the process.

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

/// Answers that are kept at once, of all plugins, and their bytes with those of
/// their keys. The oldest of the plugin that has most of them goes first.
pub(super) const MOST_ANSWERS: usize = 4096;
pub(super) const MOST_BYTES: usize = 8 * 1024 * 1024;

#[derive(Default)]
pub(super) struct KeptAnswers {
    pub(super) calls: HashMap<Key, First>,
    /// Those that are answered, by plugin.
    pub(super) shares: HashMap<String, Share>,
    pub(super) answers: usize,
    pub(super) bytes: usize,
    /// Keys whose records are not yet persisted; `true` while a write is in flight.
    unsaved: HashMap<Key, bool>,
}

/// The answers of one plugin.
#[derive(Default)]
pub(super) struct Share {
    /// The oldest answer first.
    pub(super) answered: VecDeque<Key>,
    pub(super) bytes: usize,
}

/// The answer of a running call, once there is one.
pub(super) type Said = Option<Arc<Answer>>;

/// The first call with a key.
#[derive(Clone)]
pub(super) enum First {
    Running(watch::Receiver<Said>),
    Answered(KeptAnswer),
}

/// An answer for repeats.
#[derive(Clone)]
pub(super) struct KeptAnswer {
    pub(super) answer: Arc<Answer>,
    pub(super) until: Instant,
    /// End of its time by the wall clock and the whole of its time, in milliseconds;
    /// `None` if it ends with the process.
    durable: Option<(i64, u64)>,
}

/// Stored form of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AnswerRecord {
    status: i32,
    body: String,
    call: String,
    until_ms: i64,
    time_ms: u64,
}

impl KeptAnswer {
    pub(super) fn new(
        answer: Arc<Answer>,
        idempotency: &Idempotency,
        wall: Timestamp,
        now: Instant,
    ) -> KeptAnswer {
        let Idempotency { time, durable, .. } = *idempotency;
        let until_ms = wall.saturating_add(time).unwrap_or(Timestamp::MAX).as_millisecond();
        let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        KeptAnswer { answer, until: now + time, durable: durable.then_some((until_ms, time_ms)) }
    }

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

impl KeptAnswers {
    /// Takes up the answers of the last run. The rest of their time is told by the wall
    /// clock, and is never longer than the whole.
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
            self.keep(key, KeptAnswer { answer, until, durable: Some((until_ms, time_ms)) });
        }
    }

    /// Notes that a call with this key runs, unless it has an answer or runs already.
    pub(super) fn begin(&mut self, key: &Key, now: Instant) -> Result<watch::Sender<Said>, First> {
        match self.calls.get(key) {
            Some(First::Answered(kept)) if kept.until <= now => self.forget(key),
            Some(first) => return Err(first.clone()),
            None => {}
        }
        let (say, first) = watch::channel(None);
        self.calls.insert(key.clone(), First::Running(first));
        Ok(say)
    }

    /// The call with this key has ended without an answer.
    pub(super) fn give_up(&mut self, key: &Key) {
        self.calls.remove(key);
    }

    pub(super) fn keep(&mut self, key: Key, kept: KeptAnswer) {
        let bytes = size(&key, &kept.answer);
        let share = self.shares.entry(key.plugin.clone()).or_default();
        share.answered.push_back(key.clone());
        share.bytes += bytes;
        self.answers += 1;
        self.bytes += bytes;
        if kept.durable.is_some() {
            self.unsaved.insert(key.clone(), false);
        }
        self.calls.insert(key, First::Answered(kept));
        while let Some(oldest) = self.too_much().cloned() {
            self.forget(&oldest);
        }
    }

    /// Returns the answer that goes first, if there are too many or too large ones.
    fn too_much(&self) -> Option<&Key> {
        let shares = self.shares.values();
        let most = if self.bytes > MOST_BYTES {
            shares.max_by_key(|share| share.bytes)
        } else if self.answers > MOST_ANSWERS {
            shares.max_by_key(|share| share.answered.len())
        } else {
            None
        };
        most?.answered.front()
    }

    fn forget(&mut self, key: &Key) {
        let Some(First::Answered(kept)) = self.calls.remove(key) else { return };
        let bytes = size(key, &kept.answer);
        self.answers -= 1;
        self.bytes -= bytes;
        if kept.durable.is_some() {
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

fn size(key: &Key, answer: &Answer) -> usize {
    key.plugin.len() + key.method.len() + key.text.len() + answer.body.len()
}

impl Persistent for KeptAnswers {
    const KIND: RecordKind = RecordKind::Answer;
    type Record = AnswerRecord;
    type Found = (Key, AnswerRecord);

    fn unsaved(&mut self) -> Vec<(Vec<u8>, Option<AnswerRecord>)> {
        self.unsaved.values_mut().for_each(|under_way| *under_way = true);
        let record = |key: &Key| match self.calls.get(key)? {
            First::Answered(kept) => kept.record(),
            First::Running(_) => None,
        };
        let bytes = |key: &Key| serde_json::to_vec(key).expect("a key is JSON");
        self.unsaved.keys().map(|key| (bytes(key), record(key))).collect()
    }

    fn saved(&mut self, written: bool) {
        if written {
            self.unsaved.retain(|_, under_way| !*under_way);
        }
    }

    fn lost(&mut self) {
        let durable = self
            .calls
            .iter()
            .filter(|(_, call)| matches!(call, First::Answered(kept) if kept.durable.is_some()));
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
