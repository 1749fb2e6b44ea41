//! The state of a slot behind its lock. It decides when a version is rolled back, and when and
//! for how long a plugin is disabled.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::observed::ObservedTimes;
use super::view::{
    CallFailure, Change, Chore, Disabled, RejectedDesired, RolledBack, SlotStatus, SlotView,
    VersionDigests,
};
use super::{Counters, Loaded, Version};
use crate::config::{Patience, Settings};

/// The number of failures in a row after which a new version that has never succeeded is
/// rolled back.
const ROLLBACK_FAILURES: u32 = 3;

/// The time after which a version without failures counts as good, even without a call.
const PROVEN_AFTER: Duration = Duration::from_secs(60);

/// The first duration for which a plugin is disabled.
pub(super) const SHORTEST_REST: Duration = Duration::from_secs(1);

/// The longest duration for which a plugin is disabled.
pub(super) const LONGEST_REST: Duration = Duration::from_secs(30);

/// The state of a slot.
pub(super) struct SlotState<P> {
    /// The version that receives calls. `None` until the first version is loaded.
    pub(super) active: Option<Arc<Version<P>>>,
    pub(super) previous: Option<Arc<Version<P>>>,
    /// The version that was rolled back, and its settings. It is not activated again.
    pub(super) rejected: Option<(RolledBack, Arc<Settings>)>,
    /// The number of the newest version.
    pub(super) newest: u32,
    pub(super) patience: Patience,
    pub(super) switched_off: bool,
    pub(super) start: Start,
    pub(super) health: Health,
    pub(super) last_error: Option<String>,
    /// The reason why the version in the plugin's file is not activated.
    pub(super) refused: Option<String>,
    pub(super) desired_rejected: Option<RejectedDesired>,
    pub(super) last_call_error: Option<CallFailure>,
    pub(super) counters: Counters,
    /// Time since when the counters count.
    since: std::time::Instant,
    pub(super) observed: ObservedTimes,
    pub(super) chores: Vec<Chore<P>>,
}

/// The progress of the active version's start.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Start {
    Done,
    /// The loading of the first version. Calls wait for a limited time.
    Loading,
    /// The start of the first version. Calls wait until it ends.
    Starting,
    /// A failure to load or start the version, which then accepts no calls.
    Failed,
}

/// The health of the active version.
#[derive(Default)]
pub(super) struct Health {
    pub(super) succeeded: bool,
    /// The number of failures in a row.
    pub(super) failures: u32,
    /// The time of the first of these failures.
    pub(super) failing_since: Option<Instant>,
    /// The last duration for which the plugin was disabled.
    pub(super) rest: Duration,
    /// The time until which the plugin is disabled. Kept until the next success.
    pub(super) rests_until: Option<Instant>,
}

impl<P> SlotState<P> {
    pub(super) fn new(patience: Patience) -> SlotState<P> {
        SlotState {
            active: None,
            previous: None,
            rejected: None,
            newest: 0,
            patience,
            switched_off: false,
            start: Start::Loading,
            health: Health::default(),
            last_error: None,
            refused: None,
            desired_rejected: None,
            last_call_error: None,
            counters: Counters::default(),
            since: Instant::now().into_std(),
            observed: ObservedTimes::default(),
            chores: Vec::new(),
        }
    }

    /// Sets the active version, and returns the previous one.
    pub(super) fn set_active(
        &mut self,
        loaded: Loaded<P>,
        start: Start,
    ) -> Option<Arc<Version<P>>> {
        self.newest += 1;
        self.start = start;
        self.active.replace(Arc::new(Version::new(loaded, self.newest)))
    }

    /// Returns the digests to persist.
    pub(super) fn digests(&self, now: Instant) -> VersionDigests {
        let digest = |version: &Arc<Version<P>>| version.loaded.digest.clone();
        let is_proven = |version: &Arc<Version<P>>| {
            let quiet = now.saturating_duration_since(version.begun) >= PROVEN_AFTER;
            self.health.succeeded || (quiet && self.health.failures == 0)
        };
        let active = self.active.as_ref().filter(|_| self.start == Start::Done);
        VersionDigests {
            good: active.filter(|version| is_proven(version)).map(digest),
            active: active.map(digest),
            previous: self.previous.as_ref().map(digest),
            rolled_back: self.rejected.as_ref().map(|(bad, _)| bad.digest.clone()),
        }
    }

    /// Returns the current state of the slot.
    pub(super) fn view(&self) -> SlotView<P> {
        SlotView {
            active: self.active.clone(),
            state: match () {
                () if self.switched_off => SlotStatus::Off,
                () if self.start == Start::Loading => SlotStatus::Loading,
                () if self.start == Start::Failed => SlotStatus::NotStarted,
                () if self.health.rests_until.is_some() => SlotStatus::Disabled,
                () => SlotStatus::Active,
            },
            last_error: self.refused.clone().or_else(|| self.last_error.clone()),
            counters: self.counters,
            since: self.since,
            may_roll_back: self.previous.is_some(),
            rolled_back: self.rejected.as_ref().map(|(bad, _)| bad.clone()),
            desired_rejected: self.desired_rejected.clone(),
            last_call_error: self.last_call_error.clone(),
        }
    }

    /// Returns the reason why the plugin accepts no calls, or `None` if it accepts calls.
    pub(super) fn disabled(&self, now: Instant) -> Option<Disabled> {
        if self.switched_off {
            return Some(Disabled::SwitchedOff);
        }
        match self.start {
            Start::Done => {}
            Start::Loading => return Some(Disabled::Loading),
            Start::Starting => return Some(Disabled::Starting),
            Start::Failed => return Some(Disabled::NotStarted),
        }
        let left = self.health.rests_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(Disabled::Resting(left))
    }

    /// Closes a version to new calls, and schedules its stop.
    pub(super) fn retire(&mut self, version: &Arc<Version<P>>) {
        version.to_stop.store(true, Ordering::Relaxed);
        version.calls.close();
        self.chores.push(Chore::Stop(Arc::clone(version)));
    }

    /// Records a success of the active version.
    pub(super) fn succeeded(&mut self) -> Option<Change> {
        let recovered = self.health.rests_until.is_some();
        self.health = Health { succeeded: true, ..Health::default() };
        recovered.then(|| {
            self.last_error = None;
            Change::Recovered
        })
    }

    /// Records a failure of the active version, and rolls it back or disables the plugin if a
    /// limit is reached.
    pub(super) fn failed(&mut self, error: String, now: Instant) -> Option<Change> {
        let Patience { disable_after, failing_for, rollback } = self.patience;
        self.health.failures += 1;
        self.last_error = Some(error);
        let since = *self.health.failing_since.get_or_insert(now);
        let lasts = now.saturating_duration_since(since) >= failing_for;
        let too_many = lasts && disable_after > 0 && self.health.failures >= disable_after;
        let is_trial = rollback && !self.health.succeeded;
        if is_trial && (too_many || lasts && self.health.failures >= ROLLBACK_FAILURES) {
            let instead_of = self.active.as_ref().map(|version| version.loaded.digest.clone());
            let stopped = self.previous.as_ref().is_some_and(|version| version.is_stopped());
            if let Some((from, to)) = self.roll_back() {
                let error = self.last_error.take().unwrap_or_default();
                self.last_error = Some(format!("version {from} failed its first calls: {error}"));
                if let (true, Some(version), Some(instead_of)) =
                    (stopped, self.active.clone(), instead_of)
                {
                    self.chores.push(Chore::StartAgain { version, instead_of });
                }
                return Some(Change::RolledBack { from, to });
            }
        }
        // After a rest, the next failure disables the plugin again, for longer.
        let rested = self.health.rests_until.is_some_and(|until| until <= now);
        if !too_many && !rested || self.disabled(now).is_some() {
            return None;
        }
        let rest = (self.health.rest * 2).clamp(SHORTEST_REST, LONGEST_REST);
        self.health.rest = rest;
        self.health.rests_until = Some(now + rest);
        self.counters.disables += 1;
        Some(Change::Disabled(rest))
    }

    /// Activates the previous version again. Returns the numbers of the version that was rolled
    /// back and of the active one.
    pub(super) fn roll_back(&mut self) -> Option<(u32, u32)> {
        let previous = self.previous.take()?;
        previous.to_stop.store(false, Ordering::Relaxed);
        previous.calls.reopen();
        let number = previous.number;
        let bad = self.active.replace(previous)?;
        let rolled_back =
            RolledBack { version: Some(bad.number), digest: bad.loaded.digest.clone() };
        self.rejected = Some((rolled_back, Arc::clone(&bad.loaded.settings)));
        if self.start == Start::Done {
            self.retire(&bad);
        }
        self.start = Start::Done;
        self.health = Health { succeeded: true, ..Health::default() };
        self.counters.rollbacks += 1;
        Some((bad.number, number))
    }
}
