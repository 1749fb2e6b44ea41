//! A plugin's place: the version that takes calls, the one before it, and how
//! it is doing.
//!
//! It decides when a version is put back to the one before (it failed its first
//! calls and never succeeded) and when a plugin is disabled for a while (it
//! failed too often in a row). It is a machine without a clock: its caller
//! brings the time. What a version is made of is its caller's business, and so
//! is what must be done to one that left or came back: [`Slot::chores`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::Settings;

pub(crate) use counters::{Counters, Outcome};

mod counters;
#[cfg(test)]
mod tests;

/// Failures in a row with which a new version that has never succeeded is put
/// back to the one before.
const FIRST_CALLS: u32 = 3;

/// How long a plugin is disabled: at first, and at most.
const SHORTEST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// Told whenever a slot is no longer what it was.
pub(crate) type Changes = watch::Sender<()>;

/// What a version is made of, and what tells it from others.
#[derive(Debug, Clone)]
pub(crate) struct Made<P> {
    pub(crate) plugin: P,
    /// SHA-256 of the file, in hex.
    pub(crate) digest: String,
    /// Limits, capabilities and the plugin's own settings.
    pub(crate) settings: Arc<Settings>,
}

/// A version of a plugin.
#[derive(Debug)]
pub(crate) struct Version<P> {
    pub(crate) made: Made<P>,
    /// Counted from 1 since the host was started.
    pub(crate) number: u32,
    pub(crate) since: Timestamp,
    calls: TaskTracker,
    /// It has left, and was not stopped yet.
    to_stop: AtomicBool,
}

/// A plugin's place. `P` is what is called.
pub(crate) struct Slot<P> {
    name: String,
    changes: Changes,
    inner: Mutex<Inner<P>>,
}

struct Inner<P> {
    active: Arc<Version<P>>,
    previous: Option<Arc<Version<P>>>,
    /// What was put back, so that it is not taken again: digest and settings.
    rejected: Option<(String, Arc<Settings>)>,
    /// The highest number so far.
    newest: u32,
    /// 0: a plugin is never disabled.
    disable_after: u32,
    switched_off: bool,
    start: Start,
    health: Health,
    last_error: Option<String>,
    /// Why what lies in its file is not taken.
    refused: Option<String>,
    counters: Counters,
    chores: Vec<Chore<P>>,
}

/// Whether the active version has been started.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Done,
    /// It is being started for the first time; calls wait.
    UnderWay,
    /// It could not be started and takes no calls.
    Failed,
}

/// How the active version is doing.
#[derive(Default)]
struct Health {
    succeeded: bool,
    failures: u32,
    /// How long the last rest was.
    rest: Duration,
    rests_until: Option<Instant>,
}

/// A call that has begun: its version stays whole until it has ended.
#[derive(Debug)]
pub(crate) struct Begun<P> {
    pub(crate) version: Arc<Version<P>>,
    at: Instant,
    _counted: TaskTrackerToken,
}

/// What is left to do for versions that left or came back by themselves.
#[derive(Debug)]
pub(crate) enum Chore<P> {
    /// It takes no more calls: stop it when its last one has ended.
    Stop(Arc<Version<P>>),
    /// It was stopped and takes calls again, in place of the version with this
    /// digest.
    StartAgain { version: Arc<Version<P>>, instead_of: String },
}

/// What a call has changed about its plugin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The version before takes the calls again.
    RolledBack { from: u32, to: u32 },
    /// No calls for this long.
    Disabled(Duration),
    /// It works again.
    Recovered,
}

/// Why a plugin takes no call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disabled {
    #[error("disabled after repeated failures; tried again in {0:.1?}")]
    Resting(Duration),
    #[error("switched off by the device's operator")]
    SwitchedOff,
    /// Worth waiting for: [`Slot::until_started`].
    #[error("is being started")]
    Starting,
    #[error("did not start; tried again within 30 s")]
    NotStarted,
}

/// How a slot is, at one moment.
pub(crate) struct View<P> {
    pub(crate) active: Arc<Version<P>>,
    pub(crate) state: State,
    pub(crate) last_error: Option<String>,
    pub(crate) counters: Counters,
    pub(crate) may_roll_back: bool,
}

/// What a plugin is up to, in the words of reports and lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It takes calls.
    Active,
    /// It has failed too often and has not worked since.
    Disabled,
    /// An operator has switched it off.
    Off,
    /// It could not be started.
    NotStarted,
}

impl<P> Slot<P> {
    /// A place with its first version.
    pub(crate) fn new(name: &str, made: Made<P>, disable_after: u32, changes: Changes) -> Slot<P> {
        let inner = Inner {
            active: Arc::new(Version::new(made, 1)),
            previous: None,
            rejected: None,
            newest: 1,
            disable_after,
            switched_off: false,
            start: Start::Done,
            health: Health::default(),
            last_error: None,
            refused: None,
            counters: Counters::default(),
            chores: Vec::new(),
        };
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
        outcome: Outcome,
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
            Outcome::Answered | Outcome::Refused => inner.succeeded(),
            Outcome::Busy | Outcome::Invalid => None,
            _ => inner.failed(error(), now),
        };
        drop(inner);
        if change.is_some() {
            self.changes.send_replace(());
        }
        change
    }

    /// A new version takes all calls from now on. Gives its number.
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

    /// Why what lies in its file now is not taken, if it is not.
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

    /// Whether this is what runs, or what was put back.
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

    /// What is to be done for its versions, each once.
    pub(crate) fn chores(&self) -> Vec<Chore<P>> {
        std::mem::take(&mut self.lock().chores)
    }

    pub(crate) fn view(&self) -> View<P> {
        let inner = self.lock();
        View {
            active: Arc::clone(&inner.active),
            state: match () {
                () if inner.switched_off => State::Off,
                () if inner.start == Start::Failed => State::NotStarted,
                () if inner.health.rests_until.is_some() => State::Disabled,
                () => State::Active,
            },
            last_error: inner.refused.clone().or_else(|| inner.last_error.clone()),
            counters: inner.counters,
            may_roll_back: inner.previous.is_some(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<P>> {
        // A panic elsewhere has not left it half changed.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Version<P> {
    fn new(made: Made<P>, number: u32) -> Version<P> {
        let (calls, to_stop) = (TaskTracker::new(), AtomicBool::new(false));
        Version { made, number, since: Timestamp::now(), calls, to_stop }
    }

    /// Waits until it takes no calls and the last one has ended. Says whether
    /// it is to be stopped now: it may have come back meanwhile.
    pub(crate) async fn idle(&self) -> bool {
        self.calls.wait().await;
        self.to_stop.swap(false, Ordering::Relaxed)
    }

    /// Whether its plugin has been told to stop, or is about to be.
    pub(crate) fn is_stopped(&self) -> bool {
        !self.to_stop.load(Ordering::Relaxed)
    }
}

impl<P> Inner<P> {
    fn disabled(&self, now: Instant) -> Option<Disabled> {
        if self.switched_off {
            return Some(Disabled::SwitchedOff);
        }
        match self.start {
            Start::Done => {}
            Start::UnderWay => return Some(Disabled::Starting),
            Start::Failed => return Some(Disabled::NotStarted),
        }
        let left = self.health.rests_until?.saturating_duration_since(now);
        (!left.is_zero()).then_some(Disabled::Resting(left))
    }

    fn retire(&mut self, version: &Arc<Version<P>>) {
        version.to_stop.store(true, Ordering::Relaxed);
        version.calls.close();
        self.chores.push(Chore::Stop(Arc::clone(version)));
    }

    fn succeeded(&mut self) -> Option<Change> {
        let recovered = self.health.rests_until.is_some();
        self.health = Health { succeeded: true, ..Health::default() };
        recovered.then(|| {
            self.last_error = None;
            Change::Recovered
        })
    }

    fn failed(&mut self, error: String, now: Instant) -> Option<Change> {
        self.health.failures += 1;
        self.last_error = Some(error);
        let too_many = self.disable_after > 0 && self.health.failures >= self.disable_after;
        if !self.health.succeeded && (self.health.failures >= FIRST_CALLS || too_many) {
            let instead_of = self.active.made.digest.clone();
            let stopped = self.previous.as_ref().is_some_and(|version| version.is_stopped());
            if let Some((from, to)) = self.roll_back() {
                let error = self.last_error.take().unwrap_or_default();
                self.last_error = Some(format!("version {from} failed its first calls: {error}"));
                let version = Arc::clone(&self.active);
                self.chores.extend(stopped.then_some(Chore::StartAgain { version, instead_of }));
                return Some(Change::RolledBack { from, to });
            }
        }
        // One more chance after each rest, and a longer rest if it is missed.
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

    fn roll_back(&mut self) -> Option<(u32, u32)> {
        let previous = self.previous.take()?;
        previous.to_stop.store(false, Ordering::Relaxed);
        previous.calls.reopen();
        let left = std::mem::replace(&mut self.active, previous);
        self.rejected = Some((left.made.digest.clone(), Arc::clone(&left.made.settings)));
        if self.start == Start::Done {
            self.retire(&left);
        }
        self.start = Start::Done;
        self.health = Health { succeeded: true, ..Health::default() };
        self.counters.rollbacks += 1;
        Some((left.number, self.active.number))
    }
}
