//! The place of a plugin: the version that takes calls, the one before it, and its
//! health.
//!
//! A slot decides when a version is rolled back (it failed its first calls and never
//! succeeded) and when a plugin is disabled for a while (it failed too often in a row).
//! It is a state machine without a clock: the caller passes the time. The caller also
//! decides what a version is made of, and carries out the work for versions that left
//! or came back: [`Slot::chores`].

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::Settings;
use inner::{Health, SlotState, Start};

pub(crate) use counters::{CallOutcome, Counters};
pub(crate) use version::{Made, Version};
pub(crate) use view::{Change, Chore, Disabled, SlotStatus, SlotView};

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
    /// A place with its first version.
    pub(crate) fn new(name: &str, made: Made<P>, disable_after: u32, changes: Changes) -> Slot<P> {
        let inner = SlotState::new(Version::new(made, 1), disable_after);
        Slot { name: name.to_owned(), changes, inner: Mutex::new(inner) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The version that takes a call now.
    pub(crate) fn begin(&self, now: Instant) -> Result<Begun<P>, Disabled> {
        let mut inner = self.lock();
        if let Some(why) = inner.disabled(now) {
            if why != Disabled::Starting {
                inner.counters.turned_away();
            }
            return Err(why);
        }
        let version = Arc::clone(&inner.active);
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
        if !Arc::ptr_eq(&call.version, &inner.active) {
            return None;
        }
        let change = match outcome {
            CallOutcome::Answered | CallOutcome::Refused => inner.succeeded(),
            CallOutcome::Busy | CallOutcome::Invalid => None,
            _ => inner.failed(error(), now),
        };
        drop(inner);
        if change.is_some() {
            self.changes.send_replace(());
        }
        change
    }

    /// Activates a new version, which takes all calls from then on. Returns its number.
    pub(crate) fn activate(&self, made: Made<P>, disable_after: u32) -> u32 {
        let mut inner = self.lock();
        inner.newest += 1;
        let version = Arc::new(Version::new(made, inner.newest));
        let left = std::mem::replace(&mut inner.active, version);
        if inner.start == Start::Done {
            inner.retire(&left);
            inner.previous = Some(left);
        }
        inner.disable_after = disable_after;
        inner.rejected = None;
        inner.start = Start::Done;
        inner.health = Health::default();
        inner.last_error = None;
        inner.refused = None;
        inner.counters.swaps += 1;
        let number = inner.newest;
        drop(inner);
        self.changes.send_replace(());
        number
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
        }
        drop(inner);
        self.changes.send_replace(());
    }

    /// Its first version is being started: calls wait for that.
    pub(crate) fn starting(&self) {
        self.lock().start = Start::UnderWay;
    }

    /// Waits while its first version is being started.
    pub(crate) async fn until_started(&self) {
        let mut changes = self.changes.subscribe();
        while self.lock().start == Start::UnderWay && changes.changed().await.is_ok() {}
    }

    /// The version with this number was started, or was not and takes no calls;
    /// says whether it is still the active one.
    pub(crate) fn started(&self, number: u32, error: Option<String>) -> bool {
        let mut inner = self.lock();
        let is_active = inner.active.number == number;
        if is_active {
            // What was wrong before, with the version that was put back, stays.
            if error.is_some() || inner.start != Start::Done {
                inner.last_error.clone_from(&error);
            }
            inner.start = if error.is_some() { Start::Failed } else { Start::Done };
        }
        drop(inner);
        self.changes.send_replace(());
        is_active
    }

    /// Sets the reason why the version in its file is not activated, if it is not.
    pub(crate) fn set_refused(&self, refused: Option<String>) {
        let mut inner = self.lock();
        let changed = inner.refused != refused;
        inner.refused = refused;
        drop(inner);
        if changed {
            self.changes.send_replace(());
        }
    }

    pub(crate) fn set_disable_after(&self, disable_after: u32) {
        self.lock().disable_after = disable_after;
    }

    /// Checks whether a version is the active one, or the one that was rolled back.
    pub(crate) fn knows(&self, digest: &str, settings: &Settings) -> bool {
        let inner = self.lock();
        let active = &inner.active.made;
        let rejected = inner.rejected.as_ref();
        (active.digest == digest && *active.settings == *settings)
            || rejected.is_some_and(|(bad, with)| bad == digest && **with == *settings)
    }

    /// It leaves for good: its version is to be stopped.
    pub(crate) fn remove(&self) {
        let mut inner = self.lock();
        let active = Arc::clone(&inner.active);
        if inner.start == Start::Done {
            inner.retire(&active);
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
