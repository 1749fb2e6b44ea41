//! Waiting jobs, and their due times.
//!
//! A state machine without a clock or a disk: the caller passes the time, runs the jobs
//! that [`WaitingJobs::due`] returns, and persists the records that [`WaitingJobs::unsaved`]
//! returns.
//!
//! A job is due when its delay has passed on the monotonic clock. The wall clock says
//! after a restart how much of the delay is left, and never more than all of it. So
//! setting the clock neither delays a job nor runs it early.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plugin::{BootOutcome, HostError, JobWhen, NewJob};

use super::job::{Job, When};
use crate::backoff::doubled;
use crate::lent::power::boot::Boot;

/// Time that the answer of a call may take to leave before its jobs begin without it:
/// the longest call, and the longest wait for a connection.
const ANSWER_WAIT: Duration = Duration::from_secs(620);

/// First and longest wait of a job whose plugin could not take it.
const SHORTEST_REST: Duration = Duration::from_millis(250);
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The time by both clocks of [`WorkClock`](crate::lent::clock::WorkClock).
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: Timestamp,
    pub(super) ticks: Duration,
}

/// A job, and its progress in this run of the host.
struct Entry {
    job: Job,
    waits: Waits,
    /// Number of times in a row that its plugin could not take it.
    rests: u32,
}

/// A job that was taken out.
pub(super) struct Taken(Entry);

/// Event that a job waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Waits {
    /// For its call to end, but no longer than this.
    Call { until: Duration },
    /// For the time.
    Time { ticks: Duration },
    /// Nothing: it runs.
    Runs,
}

/// A job that is to be run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attempt {
    pub(super) job: Job,
    pub(super) outcome: BootOutcome,
}

pub(super) struct WaitingJobs {
    jobs: BTreeMap<Arc<str>, Entry>,
    /// The boot that the machine is in.
    boot: Option<Boot>,
    /// The name of this run of the host.
    run: String,
    /// Entries not yet persisted; `true` while a write is in flight.
    unsaved: BTreeMap<Arc<str>, bool>,
    /// Jobs that wait for their call, so that most calls need not look for any.
    held: usize,
}

impl WaitingJobs {
    pub(super) fn new(boot: Option<Boot>, run: String) -> WaitingJobs {
        WaitingJobs { jobs: BTreeMap::new(), boot, run, unsaved: BTreeMap::new(), held: 0 }
    }

    /// A job of an earlier run of the host: its call has ended with that.
    pub(super) fn restore(&mut self, id: Arc<str>, job: Job, now: Now) {
        let waits = match &job.when {
            When::Call { .. } => after(Duration::ZERO, now),
            When::Time { at, wait_ms } => after(left(*at, *wait_ms, now), now),
            When::Boot { by, wait_ms, .. } => match self.outcome(&job) {
                BootOutcome::Rebooted => after(Duration::ZERO, now),
                _ => after(left(*by, *wait_ms, now), now),
            },
        };
        self.jobs.insert(id, Entry { job, waits, rests: 0 });
    }

    pub(super) fn add(
        &mut self,
        id: Arc<str>,
        plugin: &str,
        call: &str,
        new: NewJob,
        most_waiting: u32,
        now: Now,
    ) -> Result<(), HostError> {
        let theirs = self.jobs.values().filter(|entry| entry.job.plugin == plugin).count();
        if theirs >= most_waiting as usize {
            let why = format!("{theirs} jobs of this plugin wait already");
            return Err(HostError::QuotaExceeded(why));
        }
        let (when, waits) = match new.when {
            JobWhen::AfterResponse => {
                let until = now.ticks + ANSWER_WAIT;
                (When::Call { call: call.to_owned() }, Waits::Call { until })
            }
            JobWhen::AfterDelay(wait) => {
                (When::Time { at: on_the_wall(wait, now), wait_ms: millis(wait) }, after(wait, now))
            }
            JobWhen::AfterBoot { within } => {
                let Some(boot) = &self.boot else {
                    let why = "this machine does not tell its boots apart";
                    return Err(HostError::Other(why.to_owned()));
                };
                let (boot, run) = (boot.id.clone(), self.run.clone());
                let by = on_the_wall(within, now);
                (When::Boot { boot, run, by, wait_ms: millis(within) }, after(within, now))
            }
        };
        let NewJob { name, payload, .. } = new;
        let outcome = BootOutcome::NotWaitedFor;
        let job = Job { plugin: plugin.to_owned(), name, payload, when, outcome, attempt: 0 };
        self.held += usize::from(matches!(waits, Waits::Call { .. }));
        self.unsaved.insert(Arc::clone(&id), false);
        self.jobs.insert(id, Entry { job, waits, rests: 0 });
        Ok(())
    }

    /// Removes a job that is done, given up, or was never persisted.
    pub(super) fn remove(&mut self, id: &Arc<str>) -> Option<Taken> {
        let entry = self.jobs.remove(id)?;
        self.held -= usize::from(matches!(entry.waits, Waits::Call { .. }));
        self.unsaved.insert(Arc::clone(id), false);
        Some(Taken(entry))
    }

    /// Puts a job back that was taken out in vain.
    pub(super) fn put_back(&mut self, id: Arc<str>, Taken(entry): Taken) {
        self.held += usize::from(matches!(entry.waits, Waits::Call { .. }));
        self.unsaved.insert(Arc::clone(&id), false);
        self.jobs.insert(id, entry);
    }

    /// Takes a job of this plugin out, unless it runs.
    pub(super) fn cancel(&mut self, plugin: &str, id: &Arc<str>) -> Option<Taken> {
        let entry = self.jobs.get(id)?;
        if entry.job.plugin != plugin || entry.waits == Waits::Runs {
            return None;
        }
        self.remove(id)
    }

    /// The call's answer has left. Says whether a job has waited for that.
    pub(super) fn call_ended(&mut self, call: &str, now: Now) -> bool {
        let mut any = false;
        if self.held == 0 {
            return any;
        }
        for entry in self.jobs.values_mut() {
            let waited = matches!(&entry.job.when, When::Call { call: of } if of == call);
            if waited && matches!(entry.waits, Waits::Call { .. }) {
                entry.waits = after(Duration::ZERO, now);
                self.held -= 1;
                any = true;
            }
        }
        any
    }

    /// The jobs that are due, the oldest first.
    pub(super) fn due(&self, now: Now) -> Vec<Arc<str>> {
        let is_due = |entry: &Entry| match entry.waits {
            Waits::Call { until } => until <= now.ticks,
            Waits::Time { ticks } => ticks <= now.ticks,
            Waits::Runs => false,
        };
        let mut due: Vec<_> = self.jobs.iter().filter(|(_, entry)| is_due(entry)).collect();
        due.sort_by_key(|(_, entry)| match entry.waits {
            Waits::Call { until: ticks } | Waits::Time { ticks } => Some(ticks),
            Waits::Runs => None,
        });
        due.into_iter().map(|(id, _)| Arc::clone(id)).collect()
    }

    /// Returns the number of jobs that run, of one plugin or of all.
    pub(super) fn running(&self, plugin: Option<&str>) -> usize {
        let running = self.jobs.values().filter(|entry| entry.waits == Waits::Runs);
        running.filter(|entry| plugin.is_none_or(|plugin| entry.job.plugin == plugin)).count()
    }

    /// Returns the due time of the next job of a plugin that may run, on the monotonic
    /// clock.
    pub(super) fn next_due(&self, may_run: impl Fn(&str) -> bool) -> Option<Duration> {
        let plugins = self.plugins().into_keys().filter(|plugin| may_run(plugin));
        let may_run: BTreeSet<_> = plugins.collect();
        let entries = self.jobs.values();
        let entries = entries.filter(|entry| may_run.contains(entry.job.plugin.as_str()));
        let ticks = entries.filter_map(|entry| match entry.waits {
            Waits::Call { until: ticks } | Waits::Time { ticks } => Some(ticks),
            Waits::Runs => None,
        });
        ticks.min()
    }

    /// A job begins its next attempt. `None` if it is gone, or runs already.
    pub(super) fn begin(&mut self, id: &Arc<str>) -> Option<Attempt> {
        let waits_for_boot = {
            let entry = self.jobs.get(id).filter(|entry| entry.waits != Waits::Runs)?;
            matches!(entry.job.when, When::Boot { .. })
        };
        let outcome = waits_for_boot.then(|| self.outcome(&self.jobs[id].job));
        let entry = self.jobs.get_mut(id)?;
        self.held -= usize::from(matches!(entry.waits, Waits::Call { .. }));
        entry.waits = Waits::Runs;
        entry.job.attempt = entry.job.attempt.saturating_add(1);
        if let Some(outcome) = outcome {
            entry.job.outcome = outcome;
        }
        self.unsaved.insert(Arc::clone(id), false);
        Some(Attempt { job: entry.job.clone(), outcome: entry.job.outcome })
    }

    /// The attempt that was begun is over, and another is due after this time.
    pub(super) fn again(&mut self, id: &Arc<str>, wait: Duration, now: Now) {
        let Some(entry) = self.jobs.get_mut(id) else { return };
        entry.job.when = When::Time { at: on_the_wall(wait, now), wait_ms: millis(wait) };
        entry.waits = after(wait, now);
        entry.rests = 0;
        self.unsaved.insert(Arc::clone(id), false);
    }

    /// Takes back an attempt that was not made: the plugin takes no calls, or the disk
    /// no records. It does not count, and is made later.
    pub(super) fn not_now(&mut self, id: &Arc<str>, now: Now) -> Duration {
        let Some(entry) = self.jobs.get_mut(id) else { return Duration::ZERO };
        entry.job.attempt = entry.job.attempt.saturating_sub(1);
        self.unsaved.insert(Arc::clone(id), false);
        self.rest(id, now)
    }

    /// A job that is due is not begun yet. The wait doubles each time.
    pub(super) fn rest(&mut self, id: &Arc<str>, now: Now) -> Duration {
        let Some(entry) = self.jobs.get_mut(id) else { return Duration::ZERO };
        let rest = doubled(SHORTEST_REST, entry.rests, LONGEST_REST);
        entry.rests = entry.rests.saturating_add(1);
        self.held -= usize::from(matches!(entry.waits, Waits::Call { .. }));
        entry.waits = after(rest, now);
        rest
    }

    /// Returns the plugin of a job.
    pub(super) fn plugin(&self, id: &Arc<str>) -> Option<&str> {
        self.jobs.get(id).map(|entry| entry.job.plugin.as_str())
    }

    /// Returns the outcome of the boot that a job waits for, if the job is due now.
    fn outcome(&self, job: &Job) -> BootOutcome {
        let When::Boot { boot: asked_in, run, .. } = &job.when else {
            return job.outcome;
        };
        match &self.boot {
            // A late boot counts too. Only the wall clock could tell it from one in time,
            // and many a device sets that from 1970 to today after each boot.
            Some(boot) if boot.id != *asked_in => BootOutcome::Rebooted,
            _ if self.run != *run => BootOutcome::HostRestartedOnly,
            _ => BootOutcome::Expired,
        }
    }

    /// Returns the entries not yet persisted: the id, with the job if there still is
    /// one. They count as in flight from then on.
    pub(super) fn unsaved(&mut self) -> Vec<(Arc<str>, Option<Job>)> {
        self.unsaved.values_mut().for_each(|under_way| *under_way = true);
        let job = |id: &Arc<str>| self.jobs.get(id).map(|entry| entry.job.clone());
        self.unsaved.keys().map(|id| (Arc::clone(id), job(id))).collect()
    }

    /// Receives the outcome of the entries that [`WaitingJobs::unsaved`] returned last.
    pub(super) fn saved(&mut self, written: bool) {
        if written {
            self.unsaved.retain(|_, under_way| !*under_way);
        }
    }

    /// Counts all jobs as not yet persisted.
    pub(super) fn lost(&mut self) {
        self.unsaved.extend(self.jobs.keys().map(|id| (Arc::clone(id), false)));
    }

    /// Jobs by the name of their plugin.
    pub(super) fn plugins(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.jobs.values() {
            *counts.entry(entry.job.plugin.as_str()).or_default() += 1;
        }
        counts
    }
}

/// Due after this wait.
fn after(wait: Duration, now: Now) -> Waits {
    Waits::Time { ticks: now.ticks.saturating_add(wait) }
}

/// Returns the rest of a wait that began in an earlier run of the host.
fn left(due: Timestamp, wait_ms: u64, now: Now) -> Duration {
    let left = Duration::try_from(due.duration_since(now.wall)).unwrap_or(Duration::ZERO);
    left.min(Duration::from_millis(wait_ms))
}

/// Returns the end of a wait by the clock on the wall, for the next run of the host.
fn on_the_wall(wait: Duration, now: Now) -> Timestamp {
    now.wall.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
