//! The queue of reported properties, which are sent until the hub accepts or refuses them.
//!
//! Each report becomes a part, and later reports of the same plugin are merged into its
//! waiting part, so that a device that is offline for a week keeps only a few parts. One patch
//! is in flight at a time, so that patches arrive in order. It contains as many parts as fit.
//! It is sent again after a lost connection or a timeout, which does not change the result.
//!
//! This is a state machine without a clock or I/O: the caller passes the time, the hub's answers,
//! and sends and persists what [`Reports::next`] and [`Reports::unsaved`] return.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

use plugin::{HostError, QueueMemory};
use protocol::id::RequestId;
use protocol::twin::merge_patches;
use tokio::time::Instant;

use crate::backoff::Backoff;
pub(crate) use part::{AcceptedReport, Patch, PatchOutcome, ReportRecord, Waiter, check};
use part::{Part, SentPatch, fits};

mod part;

/// The number of connections in a row that one report ends before it is dropped. A network that
/// cuts three connections in a row must not lose a report (tests/journeys/matrix).
const MAX_CLOSINGS: u32 = 5;

/// The maximum number of waiting parts of one plugin, each of at most 32 KiB.
const MAX_WAITING: usize = 16;

/// The time limit for the hub to answer a patch, which is that of Microsoft's SDKs.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// The reports of all plugins.
pub(crate) struct Reports {
    connected: bool,
    waiting: VecDeque<Part>,
    sent: Option<SentPatch>,
    /// The earliest time of the next patch, after the hub asked for a pause.
    not_before: Option<Instant>,
    pause: Backoff,
    next_number: u64,
    /// Entries not yet persisted; `true` while a write is in flight.
    unsaved: BTreeMap<u64, bool>,
    memory: QueueMemory,
}

impl Reports {
    pub(crate) fn new() -> Reports {
        Reports {
            connected: false,
            waiting: VecDeque::new(),
            sent: None,
            not_before: None,
            pause: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            next_number: 0,
            unsaved: BTreeMap::new(),
            memory: QueueMemory::default(),
        }
    }

    /// Counts the memory of the reports, of which those that wait already are kept in any case.
    pub(crate) fn count_in(&mut self, memory: QueueMemory) {
        let sent = self.sent.iter_mut().flat_map(|sent| &mut sent.parts);
        for part in sent.chain(&mut self.waiting) {
            part.memory = memory.occupy(part.memory_bytes());
        }
        self.memory = memory;
    }

    /// Adds the records found in the journal at the start, in any order.
    pub(crate) fn restore(&mut self, records: impl IntoIterator<Item = (u64, ReportRecord)>) {
        for (number, saved) in records {
            let folded = true;
            self.waiting.push_back(Part { folded, ..Part::new(number, saved, None) });
            self.next_number = self.next_number.max(number.saturating_add(1));
        }
        self.waiting.make_contiguous().sort_by_key(|part| part.number);
    }

    /// Adds a patch, which the caller has checked with [`check`].
    pub(crate) fn push(
        &mut self,
        plugin: &str,
        patch: Patch,
        waiter: Option<Waiter>,
    ) -> Result<AcceptedReport, HostError> {
        let number = self.next_number;
        let has_waiter = waiter.is_some();
        let saved = ReportRecord { plugin: plugin.to_owned(), patch };
        let mut part = Part::new(number, saved, waiter);
        let memory = self.memory.reserve(part.memory_bytes());
        part.memory = memory.map_err(|error| HostError::QuotaExceeded(error.to_string()))?;
        self.waiting.push_back(part);
        let before = self.fold_into_last();
        let same_plugin = self.waiting.iter().filter(|part| part.saved.plugin == plugin);
        if before.is_none() && same_plugin.count() > MAX_WAITING {
            self.waiting.pop_back();
            let reason = format!("this plugin already has {MAX_WAITING} waiting reports");
            return Err(HostError::QuotaExceeded(reason));
        }
        self.next_number += 1;
        self.unsaved.insert(number, false);
        if let Some((before, _)) = &before {
            self.unsaved.insert(*before, false);
        }
        Ok(AcceptedReport { number, before, has_waiter })
    }

    /// Removes a report that was not persisted. A report in flight is kept, because the hub may
    /// already have received it.
    pub(crate) fn undo(&mut self, accepted: AcceptedReport) {
        let AcceptedReport { number, before, has_waiter } = accepted;
        let is_same = |part: &Part| part.number == number && !part.contains_older;
        let Some(at) = self.waiting.iter().position(is_same) else { return };
        self.unsaved.insert(number, false);
        match before {
            None => drop(self.waiting.remove(at)),
            Some((before, patch)) => {
                let part = &mut self.waiting[at];
                part.number = before;
                part.saved.patch = patch;
                part.count_again();
                if has_waiter {
                    part.waiters.pop();
                }
                self.unsaved.insert(before, false);
            }
        }
    }

    /// Merges the previous part of the same plugin into the last part, unless a part in between
    /// changes one of its keys. Returns its number and patch.
    fn fold_into_last(&mut self) -> Option<(u64, Patch)> {
        let (last, others) = self.waiting.make_contiguous().split_last_mut()?;
        let same_plugin = |part: &Part| part.saved.plugin == last.saved.plugin;
        let at = others.iter().rposition(same_plugin).filter(|at| !others[*at].alone)?;
        let (earlier, between) = (&others[at], &others[at + 1..]);
        let conflicts =
            |part: &Part| part.saved.patch.keys().any(|key| earlier.saved.patch.contains_key(key));
        let mut merged = earlier.saved.patch.clone();
        if between.iter().any(conflicts)
            || !merge_patches(&mut merged, &last.saved.patch)
            || !fits(&merged)
        {
            return None;
        }
        (last.saved.patch, last.folded) = (merged, true);
        last.count_again();
        let Part { number, saved, mut waiters, .. } = self.waiting.remove(at)?;
        let last = self.waiting.back_mut()?;
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.append(&mut last.waiters);
        last.waiters = waiters;
        Some((number, saved.patch))
    }

    pub(crate) fn connected(&mut self) {
        self.connected = true;
        self.not_before = None;
    }

    /// Puts the patch in flight back into the queue. `deliberate` is `true` if the hub may have
    /// closed the connection because of it. Drops a part that was sent alone if that happened
    /// [`MAX_CLOSINGS`] times in a row, and returns its plugin.
    pub(crate) fn lost(&mut self, deliberate: bool) -> Option<String> {
        self.connected = false;
        let mut parts = self.sent.take()?.parts;
        if deliberate {
            let alone = parts.len() == 1;
            for part in &mut parts {
                // The parts are sent separately before one of them is taken for the cause.
                part.closings = if alone { part.closings + 1 } else { 1 };
                part.alone = true;
            }
            if alone && parts[0].closings >= MAX_CLOSINGS {
                let part = parts.swap_remove(0);
                let plugin = part.saved.plugin.clone();
                let reason = "the hub closed the connection each time it was sent";
                self.finish(part, &Err(HostError::Invalid(reason.to_owned())));
                return Some(plugin);
            }
        }
        self.requeue(parts);
        None
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Returns `true` if the hub has answered all reports.
    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_none()
    }

    /// Returns the number of reports that the hub has not answered.
    pub(crate) fn pending(&self) -> usize {
        self.waiting.len() + self.sent.as_ref().map_or(0, |sent| sent.parts.len())
    }

    /// Returns the patch to send now, if any. Calls `rid` for its request id.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        rid: impl FnOnce() -> RequestId,
    ) -> Option<Vec<u8>> {
        if self.sent.as_ref().is_some_and(|sent| sent.until <= now) {
            self.requeue_sent();
        }
        let paused = self.not_before.is_some_and(|until| until > now);
        if !self.connected || paused || self.sent.is_some() {
            return None;
        }
        let first = self.waiting.pop_front()?;
        let mut patch = first.patch();
        let mut parts = vec![first];
        while let Some(part) = self.waiting.front().filter(|part| !part.alone && !parts[0].alone) {
            let mut merged = patch.clone();
            if !merge_patches(&mut merged, &part.saved.patch) || !fits(&merged) {
                break;
            }
            patch = merged;
            parts.extend(self.waiting.pop_front());
        }
        let body = serde_json::to_vec(&patch).expect("a patch is JSON");
        self.sent = Some(SentPatch { parts, patch, rid: rid(), until: now + ANSWER_WAIT });
        Some(body)
    }

    /// Returns the request id of the patch in flight.
    pub(crate) fn rid(&self) -> Option<&RequestId> {
        self.sent.as_ref().map(|sent| &sent.rid)
    }

    /// Returns the time at which to call [`Reports::next`] again.
    pub(crate) fn due(&self) -> Option<Instant> {
        match &self.sent {
            Some(sent) => Some(sent.until),
            None if self.connected && !self.waiting.is_empty() => self.not_before,
            None => None,
        }
    }

    /// Handles the hub's answer to a patch. Returns `None` if the request is not in flight.
    pub(crate) fn answered(
        &mut self,
        rid: &RequestId,
        status: u16,
        version: Option<u64>,
        message: impl FnOnce() -> String,
        now: Instant,
    ) -> Option<PatchOutcome> {
        let SentPatch { parts, patch, .. } = self.sent.take_if(|sent| sent.rid == *rid)?;
        Some(match status {
            200..300 => {
                self.pause.reset();
                let version = version.unwrap_or_default();
                self.accepted(parts, version);
                PatchOutcome::Accepted { patch, version }
            }
            400..500 if status != 429 => {
                let message = message();
                match self.refused(parts, &message) {
                    Some(plugin) => PatchOutcome::Refused { status, message, plugin },
                    None => PatchOutcome::Retry { status },
                }
            }
            _ => {
                self.not_before = Some(now + self.pause.next());
                self.requeue(parts);
                PatchOutcome::Retry { status }
            }
        })
    }

    /// Finishes the parts of an accepted patch.
    fn accepted(&mut self, parts: Vec<Part>, version: u64) {
        for part in parts {
            if let Some(mut part) = self.without_sent_key(part) {
                let outcome = part.refused.take().map_or(Ok(version), Err);
                self.finish(part, &outcome);
            }
        }
    }

    /// Splits a refused patch to isolate the invalid report: first into its parts, then a merged
    /// part into its keys. Returns the plugin of a part or key that is refused for good.
    fn refused(&mut self, mut parts: Vec<Part>, message: &str) -> Option<String> {
        if parts.len() > 1 {
            parts.iter_mut().for_each(|part| part.alone = true);
            self.requeue(parts);
            return None;
        }
        let mut part = parts.pop()?;
        if part.folded && !part.by_key && part.saved.patch.len() > 1 {
            (part.alone, part.by_key) = (true, true);
            self.requeue(vec![part]);
            return None;
        }
        let plugin = part.saved.plugin.clone();
        let refused = HostError::Invalid(message.to_owned());
        part.refused = Some(refused.clone());
        if let Some(part) = self.without_sent_key(part) {
            self.finish(part, &Err(refused));
        }
        Some(plugin)
    }

    /// Removes the answered key of a part that is sent by key, and queues the rest again. Returns
    /// the part if it is finished.
    fn without_sent_key(&mut self, mut part: Part) -> Option<Part> {
        if !part.by_key || part.saved.patch.len() <= 1 {
            return Some(part);
        }
        let sent = part.saved.patch.keys().next().cloned()?;
        part.saved.patch.remove(&sent);
        self.unsaved.insert(part.number, false);
        self.requeue(vec![part]);
        None
    }

    /// Schedules the removal of a part's record, and notifies the callers that wait for it.
    fn finish(&mut self, part: Part, outcome: &Result<u64, HostError>) {
        self.unsaved.insert(part.number, false);
        for waiter in part.waiters {
            // An error means that the caller no longer waits.
            waiter.send(outcome.clone()).ok();
        }
    }

    /// Puts the patch in flight back into the queue.
    fn requeue_sent(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.requeue(sent.parts);
        }
    }

    /// Puts parts back to the front of the queue. Later reports of the same plugin are merged with
    /// them, so that the queue does not grow with each lost connection.
    fn requeue(&mut self, parts: Vec<Part>) {
        let later = mem::take(&mut self.waiting);
        self.waiting = parts.into();
        for part in later {
            let number = part.number;
            self.waiting.push_back(part);
            if !self.waiting.back().is_some_and(|part| part.alone)
                && let Some((before, _)) = self.fold_into_last()
            {
                self.waiting.iter_mut().rev().take(1).for_each(|part| part.contains_older = true);
                self.unsaved.insert(number, false);
                self.unsaved.insert(before, false);
            }
        }
    }

    /// Returns the entries not yet persisted, with `None` for a finished part. They count as in
    /// flight from then on.
    pub(crate) fn unsaved(&mut self) -> Vec<(u64, Option<ReportRecord>)> {
        let all = || self.sent.iter().flat_map(|sent| &sent.parts).chain(&self.waiting);
        let numbers: Vec<u64> = self.unsaved.keys().copied().collect();
        let found = numbers
            .into_iter()
            .map(|number| {
                let part = all().find(|part| part.number == number);
                (number, part.map(|part| part.saved.clone()))
            })
            .collect();
        self.unsaved.values_mut().for_each(|in_flight| *in_flight = true);
        found
    }

    /// Marks all parts as not yet persisted.
    pub(crate) fn lost_from_disk(&mut self) {
        let sent = self.sent.iter().flat_map(|sent| &sent.parts);
        self.unsaved.extend(sent.chain(&self.waiting).map(|part| (part.number, false)));
    }

    /// Returns `true` if there are entries not yet persisted.
    pub(crate) fn is_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Discards the entries not yet persisted, because there is no journal.
    pub(crate) fn discard_unsaved(&mut self) {
        self.unsaved.clear();
    }

    /// Records the outcome of the write of the entries in flight.
    pub(crate) fn saved(&mut self, written: bool) {
        if written {
            self.unsaved.retain(|_, in_flight| !*in_flight);
        }
    }
}

#[cfg(test)]
mod tests;
