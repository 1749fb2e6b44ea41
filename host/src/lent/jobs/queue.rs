//! The queue of jobs and their due times.
//!
//! This is a state machine without a clock or I/O: the caller passes the time, runs the jobs
//! that [`ScheduledJobs::due`] returns, and persists the records that [`ScheduledJobs::unsaved`]
//! returns.
//!
//! A job is due when its delay has passed on the monotonic clock. After a restart, the wall
//! clock determines the remaining delay, which is at most the whole delay. Setting the wall
//! clock therefore never makes a running host start a job early or late.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plugin::{BootOutcome, HostError, JobWhen, NewJob, QueueMemory, QueuedMemory};

use super::job::{Job, JobKind, When};
use super::listed::{ListedJob, ListedState};
use crate::backoff::doubled;
use crate::lent::power::boot::Boot;

/// The time after which a job no longer waits for the answer of its call to be sent. It covers
/// the longest call and the longest wait for a connection.
const ANSWER_WAIT: Duration = Duration::from_secs(620);

/// The first wait of a due job whose plugin accepts no calls.
const SHORTEST_REST: Duration = Duration::from_millis(250);

/// The longest wait of a due job whose plugin accepts no calls.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// The current time of both clocks of a [`WorkClock`](crate::lent::clock::WorkClock).
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: Timestamp,
    pub(super) ticks: Duration,
}

/// A job, and its progress in this run of the host.
struct Entry {
    job: Job,
    state: JobState,
    /// The number of times in a row that its plugin accepted no calls.
    rests: u32,
    memory: QueuedMemory,
}

/// A job that was removed from the queue.
pub(super) struct RemovedJob(Entry);

/// The state of a job. Times are on the monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq)]
enum JobState {
    /// The wait for the end of its call, with a limit.
    WaitingForCall {
        until: Duration,
    },
    /// The wait for its due time.
    WaitingForTime {
        ticks: Duration,
    },
    Running,
}

/// An attempt to run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Attempt {
    pub(super) job: Job,
    pub(super) outcome: BootOutcome,
}

/// The jobs of all plugins, running ones included.
pub(super) struct ScheduledJobs {
    jobs: BTreeMap<Arc<str>, Entry>,
    /// The current boot of the machine.
    boot: Option<Boot>,
    /// The id of this run of the host.
    run: String,
    /// Entries not yet persisted; `true` while a write is in flight.
    unsaved: BTreeMap<Arc<str>, bool>,
    /// The number of jobs that wait for their call. Usually it is zero, and the end of a call
    /// needs no search.
    waiting_for_call: usize,
    memory: QueueMemory,
}

impl ScheduledJobs {
    pub(super) fn new(boot: Option<Boot>, run: String) -> ScheduledJobs {
        ScheduledJobs {
            jobs: BTreeMap::new(),
            boot,
            run,
            unsaved: BTreeMap::new(),
            waiting_for_call: 0,
            memory: QueueMemory::default(),
        }
    }

    /// Counts the memory of the jobs, of which those that wait already are kept in any case.
    pub(super) fn count_in(&mut self, memory: QueueMemory) {
        for entry in self.jobs.values_mut() {
            entry.memory = memory.occupy(entry.job.memory_bytes());
        }
        self.memory = memory;
    }

    /// Adds a job of an earlier run of the host. A job that waited for its call is due at once,
    /// because the call ended with that run.
    pub(super) fn restore(&mut self, id: Arc<str>, job: Job, now: Now) {
        let state = match &job.when {
            When::Call { .. } => after(Duration::ZERO, now),
            When::Time { at, wait_ms } => after(remaining(*at, *wait_ms, now), now),
            When::Boot { by, wait_ms, .. } => match self.outcome(&job) {
                BootOutcome::Rebooted => after(Duration::ZERO, now),
                _ => after(remaining(*by, *wait_ms, now), now),
            },
        };
        let memory = self.memory.occupy(job.memory_bytes());
        self.jobs.insert(id, Entry { job, state, rests: 0, memory });
    }

    /// Adds a job. Returns an error if the plugin already has `max_waiting` jobs, or if the
    /// memory of all queues is exhausted.
    pub(super) fn add(
        &mut self,
        id: Arc<str>,
        plugin: &str,
        (call, traceparent): (&str, Option<String>),
        (kind, new): (JobKind, NewJob),
        max_waiting: u32,
        now: Now,
    ) -> Result<(), HostError> {
        let count = self.jobs.values().filter(|entry| entry.job.plugin == plugin).count();
        if count >= max_waiting as usize {
            let reason = format!("this plugin already has {count} jobs");
            return Err(HostError::QuotaExceeded(reason));
        }
        let (when, state) = match new.when {
            JobWhen::AfterResponse => {
                let until = now.ticks + ANSWER_WAIT;
                (When::Call { call: call.to_owned() }, JobState::WaitingForCall { until })
            }
            JobWhen::AfterDelay(wait) => (
                When::Time { at: wall_time_after(wait, now), wait_ms: millis(wait) },
                after(wait, now),
            ),
            JobWhen::AfterBoot { within } => {
                let Some(boot) = &self.boot else {
                    let reason = "this machine does not report a boot id";
                    return Err(HostError::Other(reason.to_owned()));
                };
                let (boot, run) = (boot.id.clone(), self.run.clone());
                let by = wall_time_after(within, now);
                (When::Boot { boot, run, by, wait_ms: millis(within) }, after(within, now))
            }
        };
        let NewJob { name, payload, .. } = new;
        let outcome = BootOutcome::NotWaitedFor;
        let plugin = plugin.to_owned();
        let job = Job { plugin, kind, name, payload, when, outcome, attempt: 0, traceparent };
        let memory = self.memory.reserve(job.memory_bytes());
        let memory = memory.map_err(|error| HostError::QuotaExceeded(error.to_string()))?;
        self.waiting_for_call += usize::from(matches!(state, JobState::WaitingForCall { .. }));
        self.unsaved.insert(Arc::clone(&id), false);
        self.jobs.insert(id, Entry { job, state, rests: 0, memory });
        Ok(())
    }

    /// Removes a job.
    pub(super) fn remove(&mut self, id: &Arc<str>) -> Option<RemovedJob> {
        let entry = self.jobs.remove(id)?;
        self.waiting_for_call -=
            usize::from(matches!(entry.state, JobState::WaitingForCall { .. }));
        self.unsaved.insert(Arc::clone(id), false);
        Some(RemovedJob(entry))
    }

    /// Restores a job whose removal was not persisted.
    pub(super) fn put_back(&mut self, id: Arc<str>, RemovedJob(entry): RemovedJob) {
        self.waiting_for_call +=
            usize::from(matches!(entry.state, JobState::WaitingForCall { .. }));
        self.unsaved.insert(Arc::clone(&id), false);
        self.jobs.insert(id, entry);
    }

    /// Removes a job, unless it belongs to another plugin or is running.
    pub(super) fn cancel(&mut self, plugin: &str, id: &Arc<str>) -> Option<RemovedJob> {
        let entry = self.jobs.get(id)?;
        if entry.job.plugin != plugin || entry.state == JobState::Running {
            return None;
        }
        self.remove(id)
    }

    /// Makes all jobs due that waited for the end of `call`. Returns `true` if there were any.
    pub(super) fn call_ended(&mut self, call: &str, now: Now) -> bool {
        let mut any = false;
        if self.waiting_for_call == 0 {
            return any;
        }
        for entry in self.jobs.values_mut() {
            let waited = matches!(&entry.job.when, When::Call { call: of } if of == call);
            if waited && matches!(entry.state, JobState::WaitingForCall { .. }) {
                entry.state = after(Duration::ZERO, now);
                self.waiting_for_call -= 1;
                any = true;
            }
        }
        any
    }

    /// Returns the ids of the due jobs, the oldest first.
    pub(super) fn due(&self, now: Now) -> Vec<Arc<str>> {
        let is_due = |entry: &Entry| match entry.state {
            JobState::WaitingForCall { until } => until <= now.ticks,
            JobState::WaitingForTime { ticks } => ticks <= now.ticks,
            JobState::Running => false,
        };
        let mut due: Vec<_> = self.jobs.iter().filter(|(_, entry)| is_due(entry)).collect();
        due.sort_by_key(|(_, entry)| match entry.state {
            JobState::WaitingForCall { until: ticks } | JobState::WaitingForTime { ticks } => {
                Some(ticks)
            }
            JobState::Running => None,
        });
        due.into_iter().map(|(id, _)| Arc::clone(id)).collect()
    }

    /// Returns the number of running jobs of one plugin, or of all plugins if it is `None`.
    pub(super) fn running(&self, plugin: Option<&str>) -> usize {
        let running = self.jobs.values().filter(|entry| entry.state == JobState::Running);
        running.filter(|entry| plugin.is_none_or(|plugin| entry.job.plugin == plugin)).count()
    }

    /// Returns the due time of the next job on the monotonic clock. Ignores the jobs of plugins
    /// for which `has_capacity` returns `false`.
    pub(super) fn next_due(&self, has_capacity: impl Fn(&str) -> bool) -> Option<Duration> {
        let plugins = self.plugins().into_keys().filter(|plugin| has_capacity(plugin));
        let plugins: BTreeSet<_> = plugins.collect();
        let entries = self.jobs.values();
        let entries = entries.filter(|entry| plugins.contains(entry.job.plugin.as_str()));
        let ticks = entries.filter_map(|entry| match entry.state {
            JobState::WaitingForCall { until: ticks } | JobState::WaitingForTime { ticks } => {
                Some(ticks)
            }
            JobState::Running => None,
        });
        ticks.min()
    }

    /// Starts the next attempt of a job. Returns `None` if the job was removed or is already
    /// running.
    pub(super) fn begin(&mut self, id: &Arc<str>) -> Option<Attempt> {
        let waits_for_boot = {
            let entry = self.jobs.get(id).filter(|entry| entry.state != JobState::Running)?;
            matches!(entry.job.when, When::Boot { .. })
        };
        let outcome = waits_for_boot.then(|| self.outcome(&self.jobs[id].job));
        let entry = self.jobs.get_mut(id)?;
        self.waiting_for_call -=
            usize::from(matches!(entry.state, JobState::WaitingForCall { .. }));
        entry.state = JobState::Running;
        entry.job.attempt = entry.job.attempt.saturating_add(1);
        if let Some(outcome) = outcome {
            entry.job.outcome = outcome;
        }
        self.unsaved.insert(Arc::clone(id), false);
        Some(Attempt { job: entry.job.clone(), outcome: entry.job.outcome })
    }

    /// Ends an attempt, and schedules the next one after `wait`.
    pub(super) fn retry(&mut self, id: &Arc<str>, wait: Duration, now: Now) {
        let Some(entry) = self.jobs.get_mut(id) else { return };
        entry.job.when = When::Time { at: wall_time_after(wait, now), wait_ms: millis(wait) };
        entry.state = after(wait, now);
        entry.rests = 0;
        self.unsaved.insert(Arc::clone(id), false);
    }

    /// Cancels an attempt that was not made, because the plugin accepts no calls or the journal
    /// was not written. The attempt does not count. Returns the wait until the next one.
    pub(super) fn not_now(&mut self, id: &Arc<str>, now: Now) -> Duration {
        let Some(entry) = self.jobs.get_mut(id) else { return Duration::ZERO };
        entry.job.attempt = entry.job.attempt.saturating_sub(1);
        self.unsaved.insert(Arc::clone(id), false);
        self.rest(id, now)
    }

    /// Postpones a due job, and returns the wait. It doubles each time.
    pub(super) fn rest(&mut self, id: &Arc<str>, now: Now) -> Duration {
        let Some(entry) = self.jobs.get_mut(id) else { return Duration::ZERO };
        let rest = doubled(SHORTEST_REST, entry.rests, LONGEST_REST);
        entry.rests = entry.rests.saturating_add(1);
        self.waiting_for_call -=
            usize::from(matches!(entry.state, JobState::WaitingForCall { .. }));
        entry.state = after(rest, now);
        rest
    }

    /// Returns the plugin of a job.
    pub(super) fn plugin(&self, id: &Arc<str>) -> Option<&str> {
        self.jobs.get(id).map(|entry| entry.job.plugin.as_str())
    }

    /// Returns all jobs with their states, in the order of their ids.
    pub(super) fn list(&self, now: Now) -> Vec<ListedJob> {
        let listed = |(id, entry): (&Arc<str>, &Entry)| {
            let (state, ticks) = match (entry.state, &entry.job.when) {
                (JobState::Running, _) => (ListedState::Running, None),
                (JobState::WaitingForCall { .. }, _) => (ListedState::WaitingForCall, None),
                (JobState::WaitingForTime { ticks }, When::Boot { .. }) => {
                    (ListedState::WaitingForBoot, Some(ticks))
                }
                (JobState::WaitingForTime { ticks }, _) => {
                    (ListedState::WaitingForTime, Some(ticks))
                }
            };
            let due = ticks.map(|ticks| wall_time_after(ticks.saturating_sub(now.ticks), now));
            let Job { plugin, name, attempt, .. } = &entry.job;
            let (plugin, name, attempts) = (plugin.clone(), name.clone(), *attempt);
            ListedJob { id: id.to_string(), plugin, name, state, due, attempts }
        };
        self.jobs.iter().map(listed).collect()
    }

    /// Returns the number of jobs.
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Returns the outcome of the boot that a job waits for, as if the job were due now.
    fn outcome(&self, job: &Job) -> BootOutcome {
        let When::Boot { boot: requested_in, run, .. } = &job.when else {
            return job.outcome;
        };
        match &self.boot {
            // A boot after the deadline counts as well. Only the wall clock could detect it, and
            // many devices start in 1970 and set that clock after each boot.
            Some(boot) if boot.id != *requested_in => BootOutcome::Rebooted,
            _ if self.run != *run => BootOutcome::HostRestartedOnly,
            _ => BootOutcome::Expired,
        }
    }

    /// Returns the entries not yet persisted, with `None` for a removed job. They count as in
    /// flight from then on.
    pub(super) fn unsaved(&mut self) -> Vec<(Arc<str>, Option<Job>)> {
        self.unsaved.values_mut().for_each(|in_flight| *in_flight = true);
        let job = |id: &Arc<str>| self.jobs.get(id).map(|entry| entry.job.clone());
        self.unsaved.keys().map(|id| (Arc::clone(id), job(id))).collect()
    }

    /// Records the outcome of the write of the entries in flight.
    pub(super) fn saved(&mut self, written: bool) {
        if written {
            self.unsaved.retain(|_, in_flight| !*in_flight);
        }
    }

    /// Marks all jobs as not yet persisted.
    pub(super) fn lost(&mut self) {
        self.unsaved.extend(self.jobs.keys().map(|id| (Arc::clone(id), false)));
    }

    /// Returns the number of jobs of each plugin.
    pub(super) fn plugins(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for entry in self.jobs.values() {
            *counts.entry(entry.job.plugin.as_str()).or_default() += 1;
        }
        counts
    }
}

/// Returns the state of a job that is due after `wait`.
fn after(wait: Duration, now: Now) -> JobState {
    JobState::WaitingForTime { ticks: now.ticks.saturating_add(wait) }
}

/// Returns the remaining wait of a job of an earlier run of the host.
fn remaining(due: Timestamp, wait_ms: u64, now: Now) -> Duration {
    let remaining = Duration::try_from(due.duration_since(now.wall)).unwrap_or(Duration::ZERO);
    remaining.min(Duration::from_millis(wait_ms))
}

/// Returns the end of a wait by the wall clock, for the next run of the host.
fn wall_time_after(wait: Duration, now: Now) -> Timestamp {
    now.wall.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}
