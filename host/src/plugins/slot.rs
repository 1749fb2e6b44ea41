//! The place of a plugin: the version that takes calls, the one before it, and its
//! health.
//!
//! A slot decides when a version is rolled back (it failed its first calls and never
//! succeeded) and when a plugin is disabled for a while (it failed too often in a row).
//! Both need failures over some time, because a single caller can cause any number at once.
//! It is a state machine without a clock: the caller passes the time. The caller also
//! decides what a version is made of, and carries out the work for versions that left
//! or came back: [`Slot::chores`].

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::{Patience, Settings};
use inner::{Health, SlotState, Start};

pub(crate) use counters::{CallOutcome, Counters};
pub(crate) use version::{Made, Version};
pub(crate) use view::{Change, Chore, Disabled, SlotStatus, SlotView, VersionDigests};

mod counters;
mod inner;
#[cfg(test)]
pub(crate) mod tests;
mod version;
mod view;

/// Notified on every change of a slot.
pub(crate) type Changes = watch::Sender<()>;

/// A plugin's place. `P` is what is called.
pub(crate) struct Slot<P> {
    name: String,
    changes: Changes,
    inner: Mutex<SlotState<P>>,
}

/// A call that has begun: its version stays whole until it has ended.
#[derive(Debug)]
pub(crate) struct Begun<P> {
    pub(crate) version: Arc<Version<P>>,
    at: Instant,
    _counted: TaskTrackerToken,
}

impl<P> Slot<P> {
    /// Returns a place with its first version.
    pub(crate) fn new(name: &str, made: Made<P>, patience: Patience, changes: Changes) -> Slot<P> {
        let slot = Slot::loading(name, patience, changes);
        slot.lock().arrive(made, Start::Done);
        slot
    }

    /// Returns a place whose first version is being loaded.
    pub(crate) fn loading(name: &str, patience: Patience, changes: Changes) -> Slot<P> {
        let inner = Mutex::new(SlotState::new(patience));
        Slot { name: name.to_owned(), changes, inner }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The version that takes a call now.
    pub(crate) fn begin(&self, now: Instant) -> Result<Begun<P>, Disabled> {
        let mut inner = self.lock();
        if let Some(why) = inner.disabled(now) {
            if !matches!(why, Disabled::Starting | Disabled::Loading) {
                inner.counters.turned_away();
            }
            return Err(why);
        }
        let version = inner.active.clone().ok_or(Disabled::NotStarted)?;
        Ok(Begun { at: now, _counted: version.calls.token(), version })
    }

    /// A call has ended. `error` is asked for a failure only; `memory_bytes` is
    /// the most that any call of this version has used.
    pub(crate) fn ended(
        &self,
        call: &Begun<P>,
        outcome: CallOutcome,
        memory_bytes: u64,
        error: impl FnOnce() -> String,
        now: Instant,
    ) -> Option<Change> {
        let mut inner = self.lock();
        inner.counters.ended(outcome, now.saturating_duration_since(call.at), memory_bytes);
        // What an older version does says nothing of this one.
        if !inner.active.as_ref().is_some_and(|active| Arc::ptr_eq(&call.version, active)) {
            return None;
        }
        let had_succeeded = inner.health.succeeded;
        let change = match outcome {
            CallOutcome::Answered | CallOutcome::Refused => inner.succeeded(),
            CallOutcome::Busy | CallOutcome::Invalid => None,
            _ => inner.failed(error(), now),
        };
        let is_first_success = !had_succeeded && inner.health.succeeded;
        drop(inner);
        if change.is_some() || is_first_success {
            self.changes.send_replace(());
        }
        change
    }

    /// Activates a new version, which takes all calls from then on. Returns its number.
    pub(crate) fn activate(&self, made: Made<P>, patience: Patience) -> u32 {
        let mut inner = self.lock();
        let was_started = inner.start == Start::Done;
        let left = inner.arrive(made, Start::Done);
        if let Some(left) = left.filter(|_| was_started) {
            inner.retire(&left);
            inner.previous = Some(left);
        }
        inner.patience = patience;
        inner.rejected = None;
        inner.health = Health::default();
        inner.last_error = None;
        inner.refused = None;
        inner.counters.swaps += 1;
        let number = inner.newest;
        drop(inner);
        self.changes.send_replace(());
        number
    }

    /// The first version was loaded; calls wait until it is started. Returns `None` if
    /// the place is no longer waiting for it.
    pub(crate) fn loaded(&self, made: Made<P>) -> Option<Arc<Version<P>>> {
        let mut inner = self.lock();
        if inner.start != Start::Loading {
            return None;
        }
        inner.arrive(made, Start::UnderWay);
        let version = inner.active.clone();
        drop(inner);
        self.changes.send_replace(());
        version
    }

    /// The first version could not be loaded: there is none to take calls.
    pub(crate) fn not_loaded(&self, error: String) {
        let mut inner = self.lock();
        if inner.start == Start::Loading {
            inner.start = Start::Failed;
            inner.last_error = Some(error);
        }
        drop(inner);
        self.changes.send_replace(());
    }

    /// A version was rolled back in an earlier run of the host: it is not activated
    /// again.
    pub(crate) fn reject(&self, digest: String, settings: Arc<Settings>, why: String) {
        let mut inner = self.lock();
        inner.rejected = Some((digest, settings));
        inner.last_error = Some(why);
    }

    /// Returns the digests that outlive the process.
    pub(crate) fn digests(&self, now: Instant) -> VersionDigests {
        self.lock().digests(now)
    }

    /// The version that [`Slot::roll_back`] would put back.
    pub(crate) fn previous(&self) -> Option<Arc<Version<P>>> {
        self.lock().previous.clone()
    }

    /// The version before takes the calls again; says which one left and which
    /// came. It has been started again by the caller.
    pub(crate) fn roll_back(&self) -> Option<(u32, u32)> {
        let mut inner = self.lock();
        let numbers = inner.roll_back()?;
        inner.last_error = None;
        drop(inner);
        self.changes.send_replace(());
        Some(numbers)
    }

    /// An operator switches it off, or on again.
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

    /// Its first version is being started: calls wait for that.
    pub(crate) fn starting(&self) {
        self.lock().start = Start::UnderWay;
    }

    /// Checks whether its first version is being loaded.
    pub(crate) fn is_loading(&self) -> bool {
        self.lock().start == Start::Loading
    }

    /// Waits while its first version is being loaded, for this time at most, and while
    /// it is being started.
    pub(crate) async fn until_started(&self, loading: Duration) {
        let mut changes = self.changes.subscribe();
        let is = |start| self.lock().start == start;
        let loaded = async { while is(Start::Loading) && changes.changed().await.is_ok() {} };
        if timeout(loading, loaded).await.is_ok() {
            while is(Start::UnderWay) && changes.changed().await.is_ok() {}
        }
    }

    /// The version with this number was started, or was not and takes no calls;
    /// says whether it is still the active one.
    pub(crate) fn started(&self, number: u32, error: Option<String>) -> bool {
        let mut inner = self.lock();
        let is_active = inner.active.as_ref().is_some_and(|active| active.number == number);
        if is_active {
            // What was wrong before, with the version that was put back, stays.
            if error.is_some() || (inner.start != Start::Done && inner.rejected.is_none()) {
                inner.last_error.clone_from(&error);
            }
            inner.start = if error.is_some() { Start::Failed } else { Start::Done };
        }
        drop(inner);
        self.changes.send_replace(());
        is_active
    }

    /// Sets the reason why the version in its file is not activated, if it is not.
    /// Returns `false` if it was known.
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

    pub(crate) fn set_patience(&self, patience: Patience) {
        self.lock().patience = patience;
    }

    /// Checks whether a version is the active one, or the one that was rolled back.
    pub(crate) fn knows(&self, digest: &str, settings: &Settings) -> bool {
        let inner = self.lock();
        let is = |known: &str, with: &Settings| known == digest && with == settings;
        let active = inner.active.as_ref().map(|version| &version.made);
        active.is_some_and(|made| is(&made.digest, &made.settings))
            || inner.rejected.as_ref().is_some_and(|(bad, with)| is(bad, with))
    }

    /// It leaves for good: its version is to be stopped.
    pub(crate) fn remove(&self) {
        let mut inner = self.lock();
        match (inner.active.clone(), inner.start) {
            (Some(active), Start::Done) => inner.retire(&active),
            (None, _) => inner.start = Start::Failed,
            _ => {}
        }
    }

    /// Takes the outstanding work for its versions, each item once.
    pub(crate) fn chores(&self) -> Vec<Chore<P>> {
        std::mem::take(&mut self.lock().chores)
    }

    pub(crate) fn view(&self) -> SlotView<P> {
        self.lock().view()
    }

    fn lock(&self) -> MutexGuard<'_, SlotState<P>> {
        self.inner.lock()
    }
}
