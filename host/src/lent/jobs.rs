//! Jobs: work that plugins have asked the host to do later.
//!
//! A job is in the journal before the plugin gets its id, and stays there until it is
//! done, rejected or given up. [`Jobs::run`] runs each one when it is due, with the
//! version of its plugin that takes the calls then. An attempt is persisted before it
//! begins, so that a job which ends the host is not tried without end. The end of a job
//! is persisted before it counts as done.
//!
//! This module knows no plugins: [`Runner`] calls them. A job whose plugin is missing,
//! at its limit of calls or switched off waits without using an attempt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::{BootOutcome, HostError, JobQueue, NewJob};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::backoff::{doubled, random_part};
use crate::ids::IdSequence;
use crate::journal::{Journal, Mirrored, Pages, Persistent, RecordKind};
use crate::lent::clock::WorkClock;
use crate::lent::power::boot::Boot;
use crate::supervision::caught;
use job::Job;
use queue::{Attempt, Now, WaitingJobs};

mod job;
mod queue;
#[cfg(test)]
mod tests;

/// Jobs that run at once, over all plugins. No caller waits for them, and they must not
/// take the place of methods. A plugin begins another job only while more places are
/// free than it has jobs that run: a single plugin has half of the places, and long jobs
/// of one do not hold up those of the others.
const AT_ONCE: usize = 8;

/// The wait after an attempt that failed: at first, and at most.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Interval in which the clock is read again: the machine may have been suspended, which
/// tokio's timers do not notice.
const LOOK: Duration = Duration::from_secs(30);

/// Calls plugins.
pub(crate) trait Runner: Send + Sync {
    /// Checks whether a plugin takes jobs now, so that none is begun in vain.
    fn takes_jobs(&self, plugin: &str) -> bool;

    /// Returns the number of attempts for a job of the plugin that is not rejected.
    fn most_attempts(&self, plugin: &str) -> u32;

    /// Runs one attempt of a job.
    fn run_job<'a>(&'a self, job: JobCall<'a>) -> BoxFuture<'a, JobEnd>;
}

/// One attempt of a job.
#[derive(Debug, Clone)]
pub(crate) struct JobCall<'a> {
    /// The id of the call.
    pub(crate) id: Arc<str>,
    pub(crate) plugin: &'a str,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) attempt: u32,
    pub(crate) boot_outcome: BootOutcome,
}

/// End of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobEnd {
    Done,
    /// The plugin says that it will never work.
    Rejected(String),
    /// To be tried again, after this time if the plugin has said one.
    Failed {
        again_after: Option<Duration>,
        why: String,
    },
    /// There was no attempt: the plugin takes no call now.
    NotNow(String),
    /// The host stops.
    Stopped,
}

pub(crate) struct Jobs {
    queue: Arc<Mirrored<WaitingJobs>>,
    journal: Arc<Journal>,
    clock: Arc<dyn WorkClock>,
    ids: IdSequence,
    running: TaskTracker,
    draining: AtomicBool,
    given_up: AtomicU64,
}

impl Jobs {
    /// Begins with what the journal has kept.
    pub(crate) fn new(
        journal: Arc<Journal>,
        clock: Arc<dyn WorkClock>,
        boot: Option<Boot>,
    ) -> Jobs {
        let ids = IdSequence::new();
        let mut queue = WaitingJobs::new(boot, ids.text());
        let now = Now { wall: clock.wall(), ticks: clock.ticks() };
        for (id, job) in Mirrored::<WaitingJobs>::found(&journal) {
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

    /// Runs due jobs until the future is dropped. A job that is running then goes on,
    /// but its end is not persisted: close the journal after [`Jobs::is_idle`].
    pub(crate) async fn run(self: Arc<Self>, runner: Arc<dyn Runner>) {
        loop {
            let woken = self.queue.wake.notified();
            if !self.draining.load(Ordering::Relaxed) {
                self.begin_due(&runner);
            }
            let draining = self.draining.load(Ordering::Relaxed);
            let next = self.next_due().filter(|_| !draining);
            let wait = next.map_or(LOOK, |next| next.saturating_sub(self.clock.ticks()).min(LOOK));
            tokio::select! {
                () = woken => {}
                () = sleep(wait), if next.is_some() => {}
            }
        }
    }

    fn begin_due(self: &Arc<Self>, runner: &Arc<dyn Runner>) {
        let now = self.now();
        let mut queue = self.queue.lock();
        for id in queue.due(now) {
            // Another one of another plugin may begin.
            if !queue.plugin(&id).is_some_and(|plugin| has_place(&queue, plugin)) {
                continue;
            }
            if !queue.plugin(&id).is_some_and(|plugin| runner.takes_jobs(plugin)) {
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

    /// Returns the due time of the next job that may run now. For the others a job has to
    /// end, which wakes the loop.
    fn next_due(&self) -> Option<Duration> {
        let queue = self.queue.lock();
        queue.next_due(|plugin| has_place(&queue, plugin))
    }

    async fn attempt(&self, id: &Arc<str>, run: &Attempt, runner: &dyn Runner) {
        let Attempt { job, outcome } = run;
        let Job { plugin, name, payload, attempt, .. } = job;
        if let Err(why) = self.journal.flush().await {
            let wait = self.queue.lock().not_now(id, self.now());
            debug!(plugin, job = name, %id, ?wait, "job waits: {why}");
            return;
        }
        let call: Arc<str> = self.ids.text().into();
        let begun = Instant::now();
        let end = runner.run_job(JobCall {
            id: Arc::clone(&call),
            plugin,
            name,
            payload,
            attempt: *attempt,
            boot_outcome: *outcome,
        });
        let end = caught(end).await.unwrap_or_else(|panic| JobEnd::Failed {
            again_after: None,
            why: format!("host fault: {panic}"),
        });
        self.call_ended(&call);
        let elapsed_ms = begun.elapsed().as_millis();
        match end {
            JobEnd::Done => {
                self.over(id).await;
                info!(plugin, job = name, %id, %call, attempt, elapsed_ms, "job done");
            }
            JobEnd::Rejected(why) => {
                self.over(id).await;
                warn!(plugin, job = name, %id, %call, attempt, "job rejected by the plugin: {why}");
            }
            JobEnd::Failed { why, .. } if *attempt >= runner.most_attempts(plugin) => {
                self.over(id).await;
                let given_up = self.given_up.fetch_add(1, Ordering::Relaxed) + 1;
                error!(plugin, job = name, %id, %call, attempt, given_up, "job given up: {why}");
            }
            JobEnd::Failed { again_after, why } => {
                let next_try = again_after.unwrap_or_else(|| wait_after(*attempt));
                warn!(plugin, job = name, %id, %call, attempt, ?next_try, "job failed: {why}");
                self.queue.lock().again(id, next_try, self.now());
                self.journal.nudge();
            }
            JobEnd::NotNow(why) => {
                let wait = self.queue.lock().not_now(id, self.now());
                debug!(plugin, job = name, %id, ?wait, "job waits: {why}");
                self.journal.nudge();
            }
            JobEnd::Stopped => {
                self.queue.lock().again(id, Duration::ZERO, self.now());
                self.journal.nudge();
            }
        }
    }

    /// Notes that a job needs no further attempt. If the write fails it is retried with
    /// the next commit; only a host that ends before that runs the job again.
    async fn over(&self, id: &Arc<str>) {
        self.queue.lock().remove(id);
        if let Err(error) = self.journal.flush().await {
            warn!(%id, "the end of a job is not on disk yet: {error}");
        }
    }

    /// From now on no job begins.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Jobs begin again.
    pub(crate) fn resume(&self) {
        self.draining.store(false, Ordering::Relaxed);
        self.queue.wake.notify_one();
    }

    /// Checks whether no job is running.
    pub(crate) fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.wall(), ticks: self.clock.ticks() }
    }
}

/// Checks whether one more job of a plugin may run now.
fn has_place(queue: &WaitingJobs, plugin: &str) -> bool {
    queue.running(Some(plugin)) < AT_ONCE.saturating_sub(queue.running(None))
}

/// Twice as long each time, and a random part of that less, so that jobs which
/// failed together do not come back together.
fn wait_after(attempt: u32) -> Duration {
    let most = doubled(SHORTEST_WAIT, attempt.saturating_sub(1), LONGEST_WAIT);
    most.mul_f64(0.5 + 0.5 * random_part())
}

impl Persistent for WaitingJobs {
    const KIND: RecordKind = RecordKind::Job;
    type Record = Job;
    type Found = (Arc<str>, Job);

    fn unsaved(&mut self) -> Vec<(Vec<u8>, Option<Job>)> {
        let unsaved = WaitingJobs::unsaved(self).into_iter();
        unsaved.map(|(id, job)| (id.as_bytes().to_vec(), job)).collect()
    }

    fn saved(&mut self, written: bool) {
        WaitingJobs::saved(self, written);
    }

    fn lost(&mut self) {
        WaitingJobs::lost(self);
    }

    fn write(job: &Job) -> Vec<u8> {
        serde_json::to_vec(job).expect("a job is JSON")
    }

    fn read(key: &[u8], value: &[u8]) -> Option<(Arc<str>, Job)> {
        Some((std::str::from_utf8(key).ok()?.into(), serde_json::from_slice(value).ok()?))
    }
}

impl JobQueue for Jobs {
    fn add<'a>(
        &'a self,
        plugin: &'a str,
        call: &'a str,
        job: NewJob,
        most_waiting: u32,
    ) -> BoxFuture<'a, Result<String, HostError>> {
        Box::pin(async move {
            let id: Arc<str> = self.ids.text().into();
            let (owner, call) = (plugin.to_owned(), call.to_owned());
            let (queue, undoing) = (Arc::clone(&self.queue), Arc::clone(&self.queue));
            let (now, new) = (self.now(), Arc::clone(&id));
            let add = move |_: &Pages<'_>| {
                queue.lock().add(Arc::clone(&new), &owner, &call, job, most_waiting, now)?;
                Ok(new)
            };
            let undo = move |id| drop(undoing.lock().remove(&id));
            let id = self.journal.write_for(plugin, add, undo).await?;
            self.queue.wake.notify_one();
            Ok(id.as_ref().to_owned())
        })
    }

    fn call_ended(&self, call: &str) {
        if self.queue.lock().call_ended(call, self.now()) {
            self.queue.wake.notify_one();
        }
    }

    fn cancel<'a>(
        &'a self,
        plugin: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        Box::pin(async move {
            let (owner, id): (String, Arc<str>) = (plugin.to_owned(), id.into());
            let (queue, undoing) = (Arc::clone(&self.queue), Arc::clone(&self.queue));
            let cancel = move |_: &Pages<'_>| {
                let taken = queue.lock().cancel(&owner, &id);
                Ok(taken.map(|taken| (id, taken)))
            };
            let undo = move |taken: Option<(Arc<str>, queue::Taken)>| {
                if let Some((id, taken)) = taken {
                    undoing.lock().put_back(id, taken);
                }
            };
            Ok(self.journal.write_for(plugin, cancel, undo).await?.is_some())
        })
    }
}
