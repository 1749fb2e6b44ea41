//! A plugin's slot: its active version, the previous version, and its health.
//!
//! A slot decides when a version is rolled back (it failed its first calls and never
//! succeeded) and when a plugin is temporarily disabled (it failed too often in a row). Both
//! require failures over some time, because a single caller can cause any number at once.
//! A slot is a state machine without a clock: the caller passes the time. It does not depend
//! on the type of a plugin, and does not start or stop versions: the caller does the work in
//! [`Slot::chores`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::{Patience, Settings};
use inner::{Health, SlotState, Start};
use meter::Meters;
use observed::ObservedTimes;

pub(crate) use counters::{CallOutcome, Counters};
pub(crate) use meter::{BOUNDS, Meter, MeterView, OUTCOMES};
pub(crate) use version::{Loaded, Version};
pub(crate) use view::{
    CallFailure, Change, Chore, Disabled, RejectedDesired, RolledBack, SlotStatus, SlotView,
    VersionDigests,
};

mod counters;
mod inner;
mod meter;
mod observed;
#[cfg(test)]
pub(crate) mod tests;
mod version;
mod view;

/// The maximum length of a message about a call or a change, in characters.
const MAX_MESSAGE_CHARS: usize = 256;

/// A channel that signals every change of a slot.
pub(crate) type Changes = watch::Sender<()>;

/// A plugin's slot. `P` is the type of a loaded plugin.
pub(crate) struct Slot<P> {
    name: String,
    changes: Changes,
    meters: Meters,
    inner: Mutex<SlotState<P>>,
}

/// A running call. Its version is not stopped before the call ends.
#[derive(Debug)]
pub(crate) struct Begun<P> {
    pub(crate) version: Arc<Version<P>>,
    at: Instant,
    _counted: TaskTrackerToken,
}

impl<P> Slot<P> {
    /// Creates a slot with its first version.
    pub(crate) fn new(
        name: &str,
        loaded: Loaded<P>,
        patience: Patience,
        changes: Changes,
    ) -> Slot<P> {
        let slot = Slot::loading(name, patience, changes);
        slot.lock().set_active(loaded, Start::Done);
        slot
    }

    /// Creates a slot whose first version is being loaded.
    pub(crate) fn loading(name: &str, patience: Patience, changes: Changes) -> Slot<P> {
        let inner = Mutex::new(SlotState::new(patience));
        Slot { name: name.to_owned(), changes, meters: Meters::default(), inner }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the meter of a method, which tables of methods share.
    pub(crate) fn meter(&self, method: &str) -> Arc<Meter> {
        self.meters.of(method)
    }

    /// Begins a call of the active version. Returns an error if the plugin accepts no calls.
    pub(crate) fn begin(&self, now: Instant) -> Result<Begun<P>, Disabled> {
        let mut inner = self.lock();
        if let Some(reason) = inner.disabled(now) {
            if !matches!(reason, Disabled::Starting | Disabled::Loading) {
                inner.counters.rejected();
            }
            return Err(reason);
        }
        let version = inner.active.clone().ok_or(Disabled::NotStarted)?;
        Ok(Begun { at: now, _counted: version.calls.token(), version })
    }

    /// Records the end of a call, and returns a resulting change of the plugin's health.
    /// `error` returns the error code and the message, and is called only for a refusal or a
    /// failure. `memory_bytes` is the peak memory of all calls of
    /// the version.
    pub(crate) fn ended(
        &self,
        call: &Begun<P>,
        outcome: CallOutcome,
        memory_bytes: u64,
        error: impl FnOnce() -> (&'static str, String),
        now: Instant,
    ) -> Option<Change> {
        let mut inner = self.lock();
        inner.counters.ended(outcome, now.saturating_duration_since(call.at), memory_bytes);
        let mut message = String::new();
        if !matches!(outcome, CallOutcome::Answered | CallOutcome::Busy | CallOutcome::Invalid) {
            let (code, text) = error();
            message = text.chars().take(MAX_MESSAGE_CHARS).collect();
            let at = format!("{:.3}", Timestamp::now());
            inner.last_call_error =
                Some(CallFailure { error: code.to_owned(), message: message.clone(), at });
        }
        // The outcome of an older version does not affect the health of the active one.
        if !inner.active.as_ref().is_some_and(|active| Arc::ptr_eq(&call.version, active)) {
            return None;
        }
        let had_succeeded = inner.health.succeeded;
        let change = match outcome {
            CallOutcome::Answered | CallOutcome::Refused => inner.succeeded(),
            CallOutcome::Busy | CallOutcome::Invalid => None,
            _ => inner.failed(message, now),
        };
        let is_first_success = !had_succeeded && inner.health.succeeded;
        drop(inner);
        if change.is_some() || is_first_success {
            self.changes.send_replace(());
        }
        change
    }

    /// Records the duration of a call that was answered, for [`Slot::observed_time`].
    pub(crate) fn observe(&self, call: &Begun<P>, method: &str, now: Instant) {
        self.lock().observed.record(method, now.saturating_duration_since(call.at), now);
    }

    /// Returns the shortest of the last durations of a method of the active version, or zero if it
    /// is not known to be slow.
    pub(crate) fn observed_time(&self, method: &str, now: Instant) -> Duration {
        self.lock().observed.shortest(method, now)
    }

    /// Activates a new version, which receives all further calls. Returns its number.
    pub(crate) fn activate(&self, loaded: Loaded<P>, patience: Patience) -> u32 {
        let mut inner = self.lock();
        let was_started = inner.start == Start::Done;
        let replaced = inner.set_active(loaded, Start::Done);
        if let Some(replaced) = replaced.filter(|_| was_started) {
            inner.retire(&replaced);
            inner.previous = Some(replaced);
        }
        inner.patience = patience;
        inner.rejected = None;
        inner.health = Health::default();
        inner.observed = ObservedTimes::default();
        inner.last_error = None;
        inner.refused = None;
        inner.counters.swaps += 1;
        let number = inner.newest;
        drop(inner);
        self.changes.send_replace(());
        number
    }

    /// Sets the first version after it was loaded. Calls wait until it is started. Returns
    /// `None` if the slot no longer waits for it.
    pub(crate) fn loaded(&self, loaded: Loaded<P>) -> Option<Arc<Version<P>>> {
        let mut inner = self.lock();
        if inner.start != Start::Loading {
            return None;
        }
        inner.set_active(loaded, Start::Starting);
        let version = inner.active.clone();
        drop(inner);
        self.changes.send_replace(());
        version
    }

    /// Records that the first version could not be loaded. The slot then has no version.
    pub(crate) fn not_loaded(&self, error: String) {
        let mut inner = self.lock();
        if inner.start == Start::Loading {
            inner.start = Start::Failed;
            inner.last_error = Some(error);
        }
        drop(inner);
        self.changes.send_replace(());
    }

    /// Records that a version was rolled back in an earlier run of the host. It is not activated
    /// again.
    pub(crate) fn reject(&self, digest: String, settings: Arc<Settings>, reason: String) {
        let mut inner = self.lock();
        inner.rejected = Some((RolledBack { version: None, digest }, settings));
        inner.last_error = Some(reason);
    }

    /// Returns the digests to persist.
    pub(crate) fn digests(&self, now: Instant) -> VersionDigests {
        self.lock().digests(now)
    }

    /// Returns the version that [`Slot::roll_back`] would activate.
    pub(crate) fn previous(&self) -> Option<Arc<Version<P>>> {
        self.lock().previous.clone()
    }

    /// Activates the previous version again, which the caller has started. Returns the number
    /// of the version that was rolled back and the number of the active one. Returns `None` if
    /// there is no previous version.
    pub(crate) fn roll_back(&self) -> Option<(u32, u32)> {
        let mut inner = self.lock();
        let numbers = inner.roll_back()?;
        inner.last_error = None;
        drop(inner);
        self.changes.send_replace(());
        Some(numbers)
    }

    /// Switches the plugin off, or on again, for an operator.
    pub(crate) fn switch(&self, on: bool) {
        let mut inner = self.lock();
        inner.switched_off = !on;
        if on {
            inner.health.rests_until = None;
            inner.health.failures = 0;
            inner.health.failing_since = None;
        }
        drop(inner);
        self.changes.send_replace(());
    }

    /// Records that the first version is being started. Calls wait until it has started.
    pub(crate) fn starting(&self) {
        self.lock().start = Start::Starting;
    }

    /// Returns `true` while the first version is being loaded.
    pub(crate) fn is_loading(&self) -> bool {
        self.lock().start == Start::Loading
    }

    /// Waits until the first version is loaded, but at most for `loading_limit`, and then until
    /// it is started.
    pub(crate) async fn until_started(&self, loading_limit: Duration) {
        let mut changes = self.changes.subscribe();
        let is = |start| self.lock().start == start;
        let loaded = async { while is(Start::Loading) && changes.changed().await.is_ok() {} };
        if timeout(loading_limit, loaded).await.is_ok() {
            while is(Start::Starting) && changes.changed().await.is_ok() {}
        }
    }

    /// Records that the version with this number was started, or that its start failed with
    /// `error`. Returns `true` if it is still the active version.
    pub(crate) fn started(&self, number: u32, error: Option<String>) -> bool {
        let mut inner = self.lock();
        let is_active = inner.active.as_ref().is_some_and(|active| active.number == number);
        if is_active {
            // After a rollback, the error of the version that was rolled back stays visible.
            if error.is_some() || (inner.start != Start::Done && inner.rejected.is_none()) {
                inner.last_error.clone_from(&error);
            }
            inner.start = if error.is_some() { Start::Failed } else { Start::Done };
        }
        drop(inner);
        self.changes.send_replace(());
        is_active
    }

    /// Sets the reason why the version in the plugin's file is not activated. `None` clears it.
    /// Returns `true` if the reason has changed.
    pub(crate) fn set_refused(&self, refused: Option<String>) -> bool {
        let mut inner = self.lock();
        let changed = inner.refused != refused;
        inner.refused = refused;
        drop(inner);
        if changed {
            self.changes.send_replace(());
        }
        changed
    }

    /// Sets the limits of failures.
    pub(crate) fn set_patience(&self, patience: Patience) {
        self.lock().patience = patience;
    }

    /// Sets the desired properties that the plugin has rejected. `None` clears them.
    pub(crate) fn set_desired_rejected(&self, rejected: Option<RejectedDesired>) {
        let mut inner = self.lock();
        let changed = inner.desired_rejected != rejected;
        inner.desired_rejected = rejected;
        drop(inner);
        if changed {
            self.changes.send_replace(());
        }
    }

    /// Records the version in the plugin's file. If it is the active one, no version is rolled
    /// back any more. Returns `true` if it is the active one or the one that was rolled back.
    pub(crate) fn file_has(&self, digest: &str, settings: &Settings) -> bool {
        let mut inner = self.lock();
        let is_active = inner.active.as_ref().is_some_and(|active| {
            active.loaded.digest == digest && *active.loaded.settings == *settings
        });
        let changed = is_active && inner.rejected.take().is_some();
        if changed {
            inner.last_error = None;
        }
        drop(inner);
        if changed {
            self.changes.send_replace(());
        }
        is_active || self.knows(digest, settings)
    }

    /// Returns `true` if a version is the active one or the one that was rolled back.
    pub(crate) fn knows(&self, digest: &str, settings: &Settings) -> bool {
        let inner = self.lock();
        let is_same = |known: &str, with: &Settings| known == digest && with == settings;
        let active = inner.active.as_ref().map(|version| &version.loaded);
        active.is_some_and(|loaded| is_same(&loaded.digest, &loaded.settings))
            || inner.rejected.as_ref().is_some_and(|(bad, with)| is_same(&bad.digest, with))
    }

    /// Removes the plugin: its active version is stopped.
    pub(crate) fn remove(&self) {
        let mut inner = self.lock();
        match (inner.active.clone(), inner.start) {
            (Some(active), Start::Done) => inner.retire(&active),
            (None, _) => inner.start = Start::Failed,
            _ => {}
        }
    }

    /// Returns the outstanding work for the versions of the slot, and clears it.
    pub(crate) fn chores(&self) -> Vec<Chore<P>> {
        std::mem::take(&mut self.lock().chores)
    }

    /// Returns the current state of the slot.
    pub(crate) fn view(&self) -> SlotView<P> {
        self.lock().view()
    }

    fn lock(&self) -> MutexGuard<'_, SlotState<P>> {
        self.inner.lock()
    }
}
