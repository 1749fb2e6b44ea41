//! The queue of reported properties: accepted once, sent until the hub takes it.
//!
//! One patch is on its way at a time, so that patches arrive in order. Those
//! that wait are merged where one patch can say both; a lost connection or a
//! silent hub sends the same patch again, which merging makes harmless.
//!
//! It is a machine without a clock or a network: its caller brings the time,
//! sends what [`Reports::next`] gives and tells what the hub answered.

use std::collections::VecDeque;
use std::time::Duration;

use plugin::HostError;
use protocol::id::RequestId;
use protocol::twin::{MAX_SECTION_BYTES, check_patch, check_size, merge_patches};
use serde_json::{Map, Value};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::backoff::Backoff;

/// Patches that wait and could not be merged. Each has 32 KiB at most.
const MOST_WAITING: usize = 64;

/// After this the hub has not heard the patch. Official clients wait as long.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

type Patch = Map<String, Value>;
type Waiter = oneshot::Sender<Result<u64, HostError>>;

/// One wish to report, as it was accepted.
struct Part {
    patch: Patch,
    waiter: Option<Waiter>,
}

/// One patch to send: one part, or several merged.
struct Entry {
    patch: Patch,
    parts: Vec<Part>,
    /// Its merged whole was refused, so it is sent by itself.
    alone: bool,
}

struct Sent {
    entry: Entry,
    rid: RequestId,
    until: Instant,
}

pub(crate) struct Reports {
    connected: bool,
    waiting: VecDeque<Entry>,
    sent: Option<Sent>,
    /// The hub has asked for a pause.
    not_before: Option<Instant>,
    pause: Backoff,
}

/// What became of a patch that the hub has answered.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The hub has it; the new version of the reported properties.
    Taken { patch: Patch, version: u64 },
    /// The hub does not want it, and will not want it later.
    Refused { status: u16, message: String },
    /// It will be sent again.
    Again { status: u16 },
}

impl Reports {
    pub(crate) fn new() -> Reports {
        Reports {
            connected: false,
            waiting: VecDeque::new(),
            sent: None,
            not_before: None,
            pause: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
        }
    }

    /// Accepts a patch, or says at once what the hub would say of it.
    pub(crate) fn push(&mut self, patch: Patch, waiter: Option<Waiter>) -> Result<(), HostError> {
        check_patch(&patch).map_err(|error| HostError::Invalid(error.to_string()))?;
        check_size("patch", &patch, MAX_SECTION_BYTES)
            .map_err(|error| HostError::TooLarge(error.to_string()))?;
        let part = Part { patch, waiter };
        if let Some(last) = self.waiting.back_mut().filter(|entry| !entry.alone) {
            let mut merged = last.patch.clone();
            if merge_patches(&mut merged, &part.patch)
                && check_size("patch", &merged, MAX_SECTION_BYTES).is_ok()
            {
                last.patch = merged;
                last.parts.push(part);
                return Ok(());
            }
        }
        if self.waiting.len() >= MOST_WAITING {
            let why = format!("{MOST_WAITING} reports wait for the hub already");
            return Err(HostError::QuotaExceeded(why));
        }
        self.waiting.push_back(Entry {
            patch: part.patch.clone(),
            parts: vec![part],
            alone: false,
        });
        Ok(())
    }

    pub(crate) fn connected(&mut self) {
        self.connected = true;
        self.not_before = None;
    }

    /// What was on its way will be sent again.
    pub(crate) fn lost(&mut self) {
        self.connected = false;
        self.take_back();
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Whether everything that was accepted has reached the hub.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_none()
    }

    /// The patch to send now, under this request id.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        rid: impl FnOnce() -> RequestId,
    ) -> Option<Vec<u8>> {
        if self.sent.as_ref().is_some_and(|sent| sent.until <= now) {
            self.take_back();
        }
        let paused = self.not_before.is_some_and(|until| until > now);
        if !self.connected || paused || self.sent.is_some() {
            return None;
        }
        let entry = self.waiting.pop_front()?;
        let body = serde_json::to_vec(&entry.patch).expect("a patch is JSON");
        self.sent = Some(Sent { entry, rid: rid(), until: now + ANSWER_WAIT });
        Some(body)
    }

    /// The request id of what is on its way.
    pub(crate) fn rid(&self) -> Option<&RequestId> {
        self.sent.as_ref().map(|sent| &sent.rid)
    }

    /// When [`Reports::next`] should be asked again.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.sent {
            Some(sent) => Some(sent.until),
            None if self.connected && !self.waiting.is_empty() => self.not_before,
            None => None,
        }
    }

    /// What the hub answered; `None` to what is not on its way.
    pub(crate) fn answered(
        &mut self,
        rid: &RequestId,
        status: u16,
        version: Option<u64>,
        message: impl FnOnce() -> String,
        now: Instant,
    ) -> Option<Outcome> {
        let sent = self.sent.take_if(|sent| sent.rid == *rid)?;
        let entry = sent.entry;
        Some(match status {
            200..300 => {
                self.pause.reset();
                let version = version.unwrap_or_default();
                for part in entry.parts {
                    tell(part.waiter, Ok(version));
                }
                Outcome::Taken { patch: entry.patch, version }
            }
            400..500 if status != 429 => {
                let message = message();
                self.refused(entry, &message);
                Outcome::Refused { status, message }
            }
            _ => {
                self.not_before = Some(now + self.pause.next());
                self.waiting.push_front(entry);
                Outcome::Again { status }
            }
        })
    }

    /// One bad part must not take the others with it: a merged patch that is
    /// refused is sent again part by part.
    fn refused(&mut self, entry: Entry, message: &str) {
        if entry.parts.len() == 1 {
            for part in entry.parts {
                tell(part.waiter, Err(HostError::Invalid(message.to_owned())));
            }
            return;
        }
        for part in entry.parts.into_iter().rev() {
            let patch = part.patch.clone();
            self.waiting.push_front(Entry { patch, parts: vec![part], alone: true });
        }
    }

    fn take_back(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.waiting.push_front(sent.entry);
        }
    }
}

fn tell(waiter: Option<Waiter>, what: Result<u64, HostError>) {
    // Who waited may have given up.
    waiter.map(|waiter| waiter.send(what).ok());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patch(value: Value) -> Patch {
        value.as_object().unwrap().clone()
    }

    fn rid(text: &str) -> RequestId {
        text.parse().unwrap()
    }

    fn push(reports: &mut Reports, value: Value) -> oneshot::Receiver<Result<u64, HostError>> {
        let (waiter, told) = oneshot::channel();
        reports.push(patch(value), Some(waiter)).unwrap();
        told
    }

    fn next(reports: &mut Reports, name: &str, now: Instant) -> Option<Value> {
        let body = reports.next(now, || rid(name))?;
        Some(serde_json::from_slice(&body).unwrap())
    }

    fn answer(reports: &mut Reports, name: &str, status: u16, now: Instant) -> Option<Outcome> {
        reports.answered(&rid(name), status, Some(8), || "no".to_owned(), now)
    }

    #[test]
    fn what_waits_is_merged_and_goes_out_one_patch_at_a_time() {
        let now = Instant::now();
        let mut reports = Reports::new();
        let first = push(&mut reports, json!({"a": 1}));
        let mut second = push(&mut reports, json!({"b": 2, "a": 3}));
        assert_eq!(next(&mut reports, "1", now), None);

        reports.connected();
        assert_eq!(next(&mut reports, "1", now), Some(json!({"a": 3, "b": 2})));
        let mut third = push(&mut reports, json!({"c": 1}));
        assert_eq!(next(&mut reports, "2", now), None);
        let patch = patch(json!({"a": 3, "b": 2}));
        assert_eq!(answer(&mut reports, "1", 204, now), Some(Outcome::Taken { patch, version: 8 }));

        assert_eq!(first.blocking_recv().unwrap(), Ok(8));
        assert_eq!(second.try_recv().unwrap(), Ok(8));
        third.try_recv().unwrap_err();
        assert_eq!(next(&mut reports, "2", now), Some(json!({"c": 1})));
    }

    #[test]
    fn a_patch_is_sent_again_after_a_loss_and_after_a_silence() {
        let now = Instant::now();
        let mut reports = Reports::new();
        let mut told = push(&mut reports, json!({"a": 1}));
        reports.connected();
        assert!(next(&mut reports, "1", now).is_some());

        reports.lost();
        reports.connected();
        assert_eq!(next(&mut reports, "2", now), Some(json!({"a": 1})));
        assert_eq!(answer(&mut reports, "1", 204, now), None);
        assert_eq!(reports.due(), Some(now + ANSWER_WAIT));
        assert_eq!(next(&mut reports, "3", now + ANSWER_WAIT), Some(json!({"a": 1})));
        told.try_recv().unwrap_err();
    }

    #[test]
    fn a_busy_hub_is_asked_again_later() {
        let now = Instant::now();
        let mut reports = Reports::new();
        drop(push(&mut reports, json!({"a": 1})));
        reports.connected();
        assert!(next(&mut reports, "1", now).is_some());

        assert_eq!(answer(&mut reports, "1", 429, now), Some(Outcome::Again { status: 429 }));
        let due = reports.due().unwrap();
        assert_eq!(next(&mut reports, "2", due), Some(json!({"a": 1})));
    }

    #[test]
    fn a_refused_patch_takes_no_other_with_it() {
        let now = Instant::now();
        let mut reports = Reports::new();
        let mut good = push(&mut reports, json!({"good": 1}));
        let mut bad = push(&mut reports, json!({"bad": 1}));
        reports.connected();
        assert_eq!(next(&mut reports, "1", now), Some(json!({"good": 1, "bad": 1})));

        answer(&mut reports, "1", 400, now).unwrap();
        assert_eq!(next(&mut reports, "2", now), Some(json!({"good": 1})));
        answer(&mut reports, "2", 204, now).unwrap();
        assert_eq!(next(&mut reports, "3", now), Some(json!({"bad": 1})));
        answer(&mut reports, "3", 400, now).unwrap();

        assert_eq!(good.try_recv().unwrap(), Ok(8));
        assert_eq!(bad.try_recv().unwrap(), Err(HostError::Invalid("no".to_owned())));
        assert!(reports.is_done());
    }

    #[test]
    fn a_patch_against_the_rules_is_refused_before_it_is_queued() {
        let mut reports = Reports::new();
        let error = reports.push(patch(json!({"a.b": 1})), None).unwrap_err();
        assert!(matches!(error, HostError::Invalid(why) if why.starts_with("key `a.b`")));
        assert!(reports.is_done());
    }

    #[test]
    fn the_queue_has_an_end() {
        let mut reports = Reports::new();
        // Two such texts are past the size of one patch, so they are not merged.
        let large = |n: usize| patch(json!({n.to_string(): vec!["x".repeat(4000); 5]}));
        for n in 0..MOST_WAITING {
            reports.push(large(n), None).unwrap();
        }
        let error = reports.push(large(0), None).unwrap_err();
        assert_eq!(error, HostError::QuotaExceeded("64 reports wait for the hub already".into()));
    }
}
