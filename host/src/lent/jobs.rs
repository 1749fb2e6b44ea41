//! Jobs: work that plugins schedule for later.
//!
//! A job is persisted before the plugin gets its id, and stays in the journal until it is
//! done, rejected or given up. [`Jobs::run`] runs each job when it is due, on the version of
//! its plugin that is active then. An attempt is persisted before it begins, so that a job
//! that crashes the host is not retried forever. The end of a job is persisted before it
//! counts as done.
//!
//! This module does not depend on plugins: a [`Runner`] calls them. A job uses no attempt while
//! its plugin is missing, at its limit of calls or switched off, or while the host has no
//! memory left for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use plugin::{HostError, JobQueue, QueueMemory};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::backoff::{doubled, random_part};
use crate::ids::IdSequence;
use crate::journal::{Journal, Mirrored, Persistent, RecordKind};
use crate::lent::clock::WorkClock;
use crate::lent::power::boot::Boot;
use crate::supervision::caught;
use job::Job;
pub(crate) use job::JobKind;
pub(crate) use listed::{ListedJob, ListedState, NotCancelled};
pub(crate) use message::{CloudMessage, MESSAGE_JOB};
use queue::{Attempt, Now, ScheduledJobs};
pub(crate) use runner::{JobCall, JobEnd, Runner};

mod job;
mod listed;
mod message;
mod queue;
mod runner;
mod schedule;
#[cfg(test)]
mod tests;

/// The maximum number of concurrent jobs of all plugins. It is low, because no caller waits for
/// a job and methods need the capacity. A plugin starts another job only if more slots are
/// free than it uses. A single plugin therefore uses at most half of them, and its long jobs
/// do not delay the jobs of others.
const MAX_RUNNING: usize = 8;

/// The first wait after a failed attempt.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait after a failed attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The maximum interval between two reads of the clock. Tokio's timers do not count the time for
/// which the machine was suspended.
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// The jobs of all plugins.
pub(crate) struct Jobs {
    queue: Arc<Mirrored<ScheduledJobs>>,
    journal: Arc<Journal>,
    clock: Arc<dyn WorkClock>,
    ids: IdSequence,
    running: TaskTracker,
    draining: AtomicBool,
    given_up: AtomicU64,
}

impl Jobs {
    /// Restores the jobs in the journal.
    pub(crate) fn new(
        journal: Arc<Journal>,
        clock: Arc<dyn WorkClock>,
        boot: Option<Boot>,
    ) -> Jobs {
        let ids = IdSequence::new();
        let mut queue = ScheduledJobs::new(boot, ids.text());
        let now = Now { wall: clock.wall(), ticks: clock.ticks() };
        for (id, job) in Mirrored::<ScheduledJobs>::found(&journal) {
            queue.restore(id, job, now);
        }
        for (plugin, jobs) in queue.plugins() {
            info!(plugin, jobs, "jobs of the last run wait");
        }
        Jobs {
            queue: Mirrored::new(queue, Some(&journal)),
            journal,
            clock,
            ids,
            running: TaskTracker::new(),
            draining: AtomicBool::new(false),
            given_up: AtomicU64::new(0),
        }
    }

    /// Counts the memory of the jobs from now on.
    pub(crate) fn count_in(&self, memory: &QueueMemory) {
        self.queue.lock().count_in(memory.clone());
    }

    /// Runs due jobs until the future is dropped. A job that is running then continues, but its
    /// end may not be persisted: close the journal only once [`Jobs::is_idle`] returns `true`.
    pub(crate) async fn run(self: Arc<Self>, runner: Arc<dyn Runner>) {
        loop {
            let woken = self.queue.wake.notified();
            if !self.draining.load(Ordering::Relaxed) {
                self.begin_due(&runner);
            }
            let draining = self.draining.load(Ordering::Relaxed);
            let next = self.next_due().filter(|_| !draining);
            let wait = next
                .map_or(MAX_SLEEP, |next| next.saturating_sub(self.clock.ticks()).min(MAX_SLEEP));
            tokio::select! {
                () = woken => {}
                () = sleep(wait), if next.is_some() => {}
            }
        }
    }

    /// Starts the due jobs, as far as there is capacity.
    fn begin_due(self: &Arc<Self>, runner: &Arc<dyn Runner>) {
        let now = self.now();
        let mut queue = self.queue.lock();
        for id in queue.due(now) {
            // A later job of another plugin may still start.
            if !queue.plugin(&id).is_some_and(|plugin| has_capacity(&queue, plugin)) {
                continue;
            }
            if !queue.plugin(&id).is_some_and(|plugin| runner.can_run_jobs(plugin)) {
                queue.rest(&id, now);
                continue;
            }
            let Some(run) = queue.begin(&id) else { continue };
            let (jobs, runner) = (Arc::clone(self), Arc::clone(runner));
            self.running.spawn(async move {
                jobs.attempt(&id, &run, &*runner).await;
                jobs.queue.wake.notify_one();
            });
        }
    }

    /// Returns the due time of the next job whose plugin has capacity. Any other job can only
    /// start when another job ends, which wakes the loop.
    fn next_due(&self) -> Option<Duration> {
        let queue = self.queue.lock();
        queue.next_due(|plugin| has_capacity(&queue, plugin))
    }

    /// Runs one attempt of a job, and records its outcome.
    async fn attempt(&self, id: &Arc<str>, run: &Attempt, runner: &dyn Runner) {
        let Attempt { job, outcome } = run;
        let Job { plugin, kind, name, payload, attempt, traceparent, .. } = job;
        if let Err(error) = self.journal.flush().await {
            let wait = self.queue.lock().not_now(id, self.now());
            debug!(plugin, job = name, %id, ?wait, "job waits: {error}");
            return;
        }
        let call: Arc<str> = self.ids.text().into();
        let begun = Instant::now();
        let end = runner.run_job(JobCall {
            id: Arc::clone(&call),
            plugin,
            kind: *kind,
            name,
            payload,
            attempt: *attempt,
            boot_outcome: *outcome,
            traceparent: traceparent.as_deref(),
        });
        let end = caught(end).await.unwrap_or_else(|panic| JobEnd::Failed {
            retry_after: None,
            reason: format!("host fault: {panic}"),
        });
        self.call_ended(&call);
        let elapsed_ms = begun.elapsed().as_millis();
        match end {
            JobEnd::Done => {
                self.finish(id).await;
                info!(plugin, job = name, %id, %call, attempt, elapsed_ms, "job done");
            }
            JobEnd::Rejected(reason) => {
                self.finish(id).await;
                let mid = job.message_id();
                warn!(plugin, job = name, %id, mid, %call, attempt, "job rejected by the plugin: {reason}");
            }
            JobEnd::Failed { reason, .. } if *attempt >= runner.max_attempts(plugin) => {
                self.finish(id).await;
                let given_up = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
                let mid = job.message_id();
                error!(plugin, job = name, %id, mid, %call, attempt, given_up, "job given up: {reason}");
            }
            JobEnd::Failed { retry_after, reason } => {
                let next_try = retry_after.unwrap_or_else(|| wait_after(*attempt));
                warn!(plugin, job = name, %id, %call, attempt, ?next_try, "job failed: {reason}");
                self.queue.lock().retry(id, next_try, self.now());
                self.journal.nudge();
            }
            JobEnd::NotNow(reason) => {
                let wait = self.queue.lock().not_now(id, self.now());
                debug!(plugin, job = name, %id, ?wait, "job waits: {reason}");
                self.journal.nudge();
            }
            JobEnd::Stopped => {
                self.queue.lock().retry(id, Duration::ZERO, self.now());
                self.journal.nudge();
            }
        }
    }

    /// Removes a job that needs no further attempt. A failed write is retried with the next
    /// commit. If the host ends before that, the job runs again.
    async fn finish(&self, id: &Arc<str>) {
        self.queue.lock().remove(id);
        if let Err(error) = self.journal.flush().await {
            warn!(%id, "the end of a job is not on disk yet: {error}");
        }
    }

    /// Starts no further jobs until [`Jobs::resume`].
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Starts due jobs again.
    pub(crate) fn resume(&self) {
        self.draining.store(false, Ordering::Relaxed);
        self.queue.wake.notify_one();
    }

    /// Returns all jobs, running ones included.
    pub(crate) fn list(&self) -> Vec<ListedJob> {
        self.queue.lock().list(self.now())
    }

    /// Returns the number of jobs, running ones included.
    pub(crate) fn pending(&self) -> usize {
        self.queue.lock().len()
    }

    /// Cancels a job for the operator, without a notification of its plugin. Returns `Ok(Err)` if
    /// there is no such job, or if it is running.
    pub(crate) async fn cancel_for_operator(
        &self,
        id: &str,
    ) -> Result<Result<(), NotCancelled>, HostError> {
        let plugin = self.queue.lock().plugin(&Arc::from(id)).map(str::to_owned);
        let Some(plugin) = plugin else { return Ok(Err(NotCancelled::Unknown)) };
        match JobQueue::cancel(self, &plugin, id).await? {
            true => {
                info!(plugin, %id, "job cancelled by the operator");
                Ok(Ok(()))
            }
            false => Ok(Err(NotCancelled::Running)),
        }
    }

    /// Returns `true` if no job is running.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Reads both clocks.
    fn now(&self) -> Now {
        Now { wall: self.clock.wall(), ticks: self.clock.ticks() }
    }
}

/// Returns `true` if another job of a plugin can start now.
fn has_capacity(queue: &ScheduledJobs, plugin: &str) -> bool {
    queue.running(Some(plugin)) < MAX_RUNNING.saturating_sub(queue.running(None))
}

/// Returns the wait after a failed attempt. It doubles with each attempt, and has a random part,
/// so that jobs that failed together are not retried together.
fn wait_after(attempt: u32) -> Duration {
    let longest = doubled(SHORTEST_WAIT, attempt.saturating_sub(1), LONGEST_WAIT);
    longest.mul_f64(0.5 + 0.5 * random_part())
}

impl Persistent for ScheduledJobs {
    const KIND: RecordKind = RecordKind::Job;
    type Record = Job;
    type Found = (Arc<str>, Job);

    fn unsaved(&mut self) -> Vec<(Vec<u8>, Option<Job>)> {
        let unsaved = ScheduledJobs::unsaved(self).into_iter();
        unsaved.map(|(id, job)| (id.as_bytes().to_vec(), job)).collect()
    }

    fn saved(&mut self, written: bool) {
        ScheduledJobs::saved(self, written);
    }

    fn lost(&mut self) {
        ScheduledJobs::lost(self);
    }

    fn write(job: &Job) -> Vec<u8> {
        serde_json::to_vec(job).expect("a job is JSON")
    }

    fn read(key: &[u8], value: &[u8]) -> Option<(Arc<str>, Job)> {
        Some((std::str::from_utf8(key).ok()?.into(), serde_json::from_slice(value).ok()?))
    }
}
