//! Queue of reported properties: accepted once, sent until the hub accepts them.
//!
//! Each report becomes a part, and later reports of a plugin are merged into its
//! waiting part: a device that is offline for a week keeps a handful of parts, not a
//! thousand. One patch is in flight at a time, made of as many parts as fit, so that
//! patches arrive in order. After a lost connection or a silent hub the same is sent
//! again, which merging makes harmless.
//!
//! A state machine without a clock, a network or a disk: the caller passes the time,
//! sends the patch that [`Reports::next`] returns, passes on the hub's answer, and
//! persists the records that [`Reports::unsaved`] returns.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

use plugin::HostError;
use protocol::id::RequestId;
use protocol::twin::merge_patches;
use tokio::time::Instant;

use crate::backoff::Backoff;
use part::{Part, fits};
pub(crate) use part::{Patch, PatchOutcome, ReportRecord, Waiter, check};

mod part;

/// Connections in a row that one report may end before it is dropped. A network that
/// cuts three times in a row is no reason to lose it (tests/journeys/matrix).
const MAX_CLOSINGS: u32 = 5;

/// Parts of one plugin that wait because no other part can say what they say.
/// Each has 32 KiB at most.
const MOST_WAITING: usize = 16;

/// After this the hub has not heard the patch. Official clients wait as long.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

struct SentPatch {
    parts: Vec<Part>,
    patch: Patch,
    rid: RequestId,
    until: Instant,
}

pub(crate) struct Reports {
    connected: bool,
    waiting: VecDeque<Part>,
    sent: Option<SentPatch>,
    /// The hub has asked for a pause.
    not_before: Option<Instant>,
    pause: Backoff,
    next_number: u64,
    /// Entries not yet persisted; `true` while a write is in flight.
    unsaved: BTreeMap<u64, bool>,
}

/// An accepted report, with what is needed to take it back.
#[derive(Debug)]
pub(crate) struct AcceptedReport {
    number: u64,
    /// The part that it was merged with, as it was before.
    before: Option<(u64, Patch)>,
    waited_for: bool,
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
        }
    }

    /// Adds the records found on disk at the start, in any order.
    pub(crate) fn restore(&mut self, records: impl IntoIterator<Item = (u64, ReportRecord)>) {
        for (number, saved) in records {
            let folded = true;
            self.waiting.push_back(Part { folded, ..Part::new(number, saved, None) });
            self.next_number = self.next_number.max(number.saturating_add(1));
        }
        self.waiting.make_contiguous().sort_by_key(|part| part.number);
    }

    /// Accepts a patch that was checked.
    pub(crate) fn push(
        &mut self,
        plugin: &str,
        patch: Patch,
        waiter: Option<Waiter>,
    ) -> Result<AcceptedReport, HostError> {
        let number = self.next_number;
        let waited_for = waiter.is_some();
        let saved = ReportRecord { plugin: plugin.to_owned(), patch };
        self.waiting.push_back(Part::new(number, saved, waiter));
        let before = self.fold_into_last();
        let theirs = self.waiting.iter().filter(|part| part.saved.plugin == plugin);
        if before.is_none() && theirs.count() > MOST_WAITING {
            self.waiting.pop_back();
            let why = format!("{MOST_WAITING} reports of this plugin wait for the hub already");
            return Err(HostError::QuotaExceeded(why));
        }
        self.next_number += 1;
        self.unsaved.insert(number, false);
        if let Some((before, _)) = &before {
            self.unsaved.insert(*before, false);
        }
        Ok(AcceptedReport { number, before, waited_for })
    }

    /// Takes back a report that did not reach the disk. A report in flight stays: its
    /// arrival is not known.
    pub(crate) fn undo(&mut self, accepted: AcceptedReport) {
        let AcceptedReport { number, before, waited_for } = accepted;
        let mine = |part: &Part| part.number == number && !part.older_inside;
        let Some(at) = self.waiting.iter().position(mine) else { return };
        self.unsaved.insert(number, false);
        match before {
            None => drop(self.waiting.remove(at)),
            Some((before, patch)) => {
                let part = &mut self.waiting[at];
                part.number = before;
                part.saved.patch = patch;
                if waited_for {
                    part.waiters.pop();
                }
                self.unsaved.insert(before, false);
            }
        }
    }

    /// Merges the last part with the one before it of the same plugin, and returns that
    /// one as it was. The merged part comes last: it must not hold anything that a part
    /// between them has changed since.
    fn fold_into_last(&mut self) -> Option<(u64, Patch)> {
        let (last, others) = self.waiting.make_contiguous().split_last_mut()?;
        let mine = |part: &Part| part.saved.plugin == last.saved.plugin;
        let at = others.iter().rposition(mine).filter(|at| !others[*at].alone)?;
        let (earlier, between) = (&others[at], &others[at + 1..]);
        let moved =
            |part: &Part| part.saved.patch.keys().any(|key| earlier.saved.patch.contains_key(key));
        let mut merged = earlier.saved.patch.clone();
        if between.iter().any(moved)
            || !merge_patches(&mut merged, &last.saved.patch)
            || !fits(&merged)
        {
            return None;
        }
        last.saved.patch = merged;
        last.folded = true;
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

    /// Takes back what was on its way, to send it again. `deliberate`: the hub may
    /// have closed the connection because of it; after [`MAX_CLOSINGS`] in a row a
    /// report that was sent alone is dropped. Returns the plugin of a dropped report.
    pub(crate) fn lost(&mut self, deliberate: bool) -> Option<String> {
        self.connected = false;
        let mut parts = self.sent.take()?.parts;
        if deliberate {
            let alone = parts.len() == 1;
            for part in &mut parts {
                // Merged patches are taken apart before one of them is blamed.
                part.closings = if alone { part.closings + 1 } else { 1 };
                part.alone = true;
            }
            if alone && parts[0].closings >= MAX_CLOSINGS {
                let part = parts.swap_remove(0);
                let plugin = part.saved.plugin.clone();
                let why = "the hub closed the connection each time it was sent";
                self.done(part, &Err(HostError::Invalid(why.to_owned())));
                return Some(plugin);
            }
        }
        self.put_back(parts);
        None
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Checks whether everything that was accepted has reached the hub.
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

    /// The request id of what is on its way.
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

    /// Passes on the hub's answer; returns `None` if the request is not in flight.
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
                self.taken(parts, version);
                PatchOutcome::Taken { patch, version }
            }
            400..500 if status != 429 => {
                let message = message();
                match self.refused(parts, &message) {
                    Some(plugin) => PatchOutcome::Refused { status, message, plugin },
                    None => PatchOutcome::Again { status },
                }
            }
            _ => {
                self.not_before = Some(now + self.pause.next());
                self.put_back(parts);
                PatchOutcome::Again { status }
            }
        })
    }

    fn taken(&mut self, parts: Vec<Part>, version: u64) {
        for part in parts {
            if let Some(mut part) = self.without_sent_key(part) {
                let outcome = part.refused.take().map_or(Ok(version), Err);
                self.done(part, &outcome);
            }
        }
    }

    /// Takes a refused patch apart: one bad part must not take the others with it, nor
    /// one bad report those that were folded into one part with it. Returns the plugin
    /// of what is refused for good.
    fn refused(&mut self, mut parts: Vec<Part>, message: &str) -> Option<String> {
        if parts.len() > 1 {
            parts.iter_mut().for_each(|part| part.alone = true);
            self.put_back(parts);
            return None;
        }
        let mut part = parts.pop()?;
        if part.folded && !part.by_key && part.saved.patch.len() > 1 {
            (part.alone, part.by_key) = (true, true);
            self.put_back(vec![part]);
            return None;
        }
        let plugin = part.saved.plugin.clone();
        let refused = HostError::Invalid(message.to_owned());
        part.refused = Some(refused.clone());
        if let Some(part) = self.without_sent_key(part) {
            self.done(part, &Err(refused));
        }
        Some(plugin)
    }

    /// Removes the key that was sent from a part that is sent by key, and puts the
    /// rest back. Returns the part if nothing of it is left.
    fn without_sent_key(&mut self, mut part: Part) -> Option<Part> {
        if !part.by_key || part.saved.patch.len() <= 1 {
            return Some(part);
        }
        let sent = part.saved.patch.keys().next().cloned()?;
        part.saved.patch.remove(&sent);
        self.unsaved.insert(part.number, false);
        self.put_back(vec![part]);
        None
    }

    fn done(&mut self, part: Part, what: &Result<u64, HostError>) {
        self.unsaved.insert(part.number, false);
        for waiter in part.waiters {
            // Who waited may have given up.
            waiter.send(what.clone()).ok();
        }
    }

    fn take_back(&mut self) {
        if let Some(sent) = self.sent.take() {
            self.put_back(sent.parts);
        }
    }

    /// Puts parts back to the front. What the same plugin has reported meanwhile
    /// is merged with them where it can be, lest each loss adds a part.
    fn put_back(&mut self, parts: Vec<Part>) {
        let later = mem::take(&mut self.waiting);
        self.waiting = parts.into();
        for part in later {
            let number = part.number;
            self.waiting.push_back(part);
            if !self.waiting.back().is_some_and(|part| part.alone)
                && let Some((before, _)) = self.fold_into_last()
            {
                self.waiting.iter_mut().rev().take(1).for_each(|part| part.older_inside = true);
                self.unsaved.insert(number, false);
                self.unsaved.insert(before, false);
            }
        }
    }

    /// Returns the entries not yet persisted: the number, with the record if there
    /// still is one. They count as in flight from then on.
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
        self.unsaved.values_mut().for_each(|under_way| *under_way = true);
        found
    }

    /// Counts all parts as not yet persisted.
    pub(crate) fn lost_from_disk(&mut self) {
        let sent = self.sent.iter().flat_map(|sent| &sent.parts);
        self.unsaved.extend(sent.chain(&self.waiting).map(|part| (part.number, false)));
    }

    pub(crate) fn is_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Discards the entries not yet persisted, since there is no disk.
    pub(crate) fn keep_nothing(&mut self) {
        self.unsaved.clear();
    }

    /// Receives the outcome of the entries that [`Reports::unsaved`] returned last.
    pub(crate) fn saved(&mut self, written: bool) {
        if written {
            self.unsaved.retain(|_, under_way| !*under_way);
        }
    }
}

#[cfg(test)]
mod tests;
