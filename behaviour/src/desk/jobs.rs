//! A job queue in memory. Jobs are recorded when they are scheduled. If the device runs
//! jobs, they run in the order in which they are due, one at a time.
//!
//! A job that waits for a boot runs after a simulated boot or when its waiting time has
//! passed. A failed job is retried as on a real device. Retries end at the host's limit on
//! attempts of a job or when all jobs together reach [`MAX_RUNS`].

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use plugin::{
    BootOutcome, Call, HostError, JobError, JobQueue, JobWhen, Lent, Limits, NewJob, Plugin,
};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};

use super::record::{Action, Record, milliseconds};
use super::{Desk, PendingJobImage};

/// The maximum number of job runs after one call, or in one span of time. Without a limit, jobs
/// that schedule jobs could run forever.
const MAX_RUNS: u32 = 100;

/// The delay before the first retry of a job that does not choose the delay. The delay
/// doubles with each attempt. The host uses the same values with random jitter.
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);

/// The maximum delay before a retry.
const MAX_BACKOFF: Duration = Duration::from_secs(300);

pub(super) struct Jobs {
    queue: Mutex<Queue>,
    record: Arc<Record>,
}

struct Queue {
    scheduled: u32,
    pending: Vec<PendingJob>,
}

struct PendingJob {
    id: String,
    name: String,
    payload: String,
    /// The time of the next run. For a job that waits for a boot, the end of its wait.
    due: Instant,
    waits_for_boot: bool,
    runs: u32,
    /// The outcome of the boot that the job waited for. It is final at the first run.
    boot_outcome: BootOutcome,
}

/// The reason why [`Jobs::run`] returned.
pub(super) enum Stopped {
    /// A requested reboot is due.
    Boot,
    /// The queue is empty, the time has come, or [`MAX_RUNS`] is reached.
    Ended,
}

impl Jobs {
    /// Creates the queue of a device whose clock shows `now`.
    pub(super) fn new(desk: &Desk, now: Timestamp, record: Arc<Record>) -> Jobs {
        let pending = desk.pending.iter().map(|job| PendingJob {
            id: job.id.clone(),
            name: job.name.clone(),
            payload: job.payload.get().to_owned(),
            due: Instant::now()
                + Duration::try_from(job.due.duration_since(now)).unwrap_or_default(),
            waits_for_boot: job.waits_for_boot,
            runs: job.runs,
            boot_outcome: job.boot_outcome,
        });
        let queue = Queue { scheduled: desk.scheduled, pending: pending.collect() };
        Jobs { queue: Mutex::new(queue), record }
    }

    /// Returns the number of scheduled jobs and the pending ones, at a time `now` of the
    /// device's clock.
    pub(super) fn pending(&self, now: Timestamp) -> (u32, Vec<PendingJobImage>) {
        let queue = self.lock();
        let images = queue.pending.iter().map(|job| PendingJobImage {
            id: job.id.clone(),
            name: job.name.clone(),
            payload: RawValue::from_string(job.payload.clone()).expect("the payload is JSON"),
            due: now
                .saturating_add(job.due.saturating_duration_since(Instant::now()))
                .unwrap_or(Timestamp::MAX),
            waits_for_boot: job.waits_for_boot,
            runs: job.runs,
            boot_outcome: job.boot_outcome,
        });
        (queue.scheduled, images.collect())
    }

    /// Makes all jobs due that wait for a boot.
    pub(super) fn booted(&self) {
        for job in self.lock().pending.iter_mut().filter(|job| job.waits_for_boot) {
            (job.waits_for_boot, job.due) = (false, Instant::now());
            job.boot_outcome = BootOutcome::Rebooted;
        }
    }

    /// Records a restart of the host for the jobs that wait for a boot.
    pub(super) fn host_restarted(&self) {
        for job in self.lock().pending.iter_mut().filter(|job| job.waits_for_boot) {
            job.boot_outcome = BootOutcome::HostRestartedOnly;
        }
    }

    /// Runs the pending jobs and the jobs that they schedule, until the queue is empty, until
    /// a reboot is due at `boot`, or until the time `until`. `runs` counts the runs, up to
    /// [`MAX_RUNS`].
    pub(super) async fn run(
        &self,
        plugin: &Plugin,
        lent: &Arc<Lent>,
        boot: Option<Instant>,
        until: Option<Instant>,
        runs: &mut u32,
    ) -> Stopped {
        loop {
            let due = self.lock().pending.iter().map(|job| job.due).min();
            let is_past = |time: Instant| until.is_some_and(|until| time > until);
            if let Some(boot) = boot.filter(|boot| due.is_none_or(|due| *boot < due))
                && !is_past(boot)
            {
                sleep_until(boot).await;
                return Stopped::Boot;
            }
            let Some(due) = due.filter(|due| !is_past(*due)) else {
                if let Some(until) = until {
                    sleep_until(until).await;
                }
                return Stopped::Ended;
            };
            if *runs == MAX_RUNS {
                self.record.add(Action::JobsLeft { runs: *runs });
                return Stopped::Ended;
            }
            *runs += 1;
            sleep_until(due).await;
            self.run_next(plugin, lent).await;
        }
    }

    async fn run_next(&self, plugin: &Plugin, lent: &Arc<Lent>) {
        let Some(mut pending) = self.take_next() else { return };
        pending.runs += 1;
        if std::mem::take(&mut pending.waits_for_boot)
            && pending.boot_outcome == BootOutcome::NotWaitedFor
        {
            pending.boot_outcome = BootOutcome::Expired;
        }
        let PendingJob { id, name, payload, runs, boot_outcome, .. } = &pending;
        let call = Call {
            id: format!("{id}-run-{runs}").into(),
            method: name,
            payload,
            lent: Arc::clone(lent),
            attempt: *runs,
            boot_outcome: *boot_outcome,
            trace_parent: None,
        };
        let (retry, reason) = match plugin.run_job(call).await {
            Ok(Ok(())) => (None, "done".to_owned()),
            Ok(Err(JobError::Retry(wait))) => (Some(wait), String::new()),
            Ok(Err(JobError::Reject(reason))) => (None, format!("rejected: {reason}")),
            Ok(Err(JobError::Other(reason))) => (Some(None), format!(": {reason}")),
            Err(error) => (Some(None), format!(": {}: {}", error.code(), error.message())),
        };
        let again = retry.filter(|_| *runs < Limits::default().job_attempts);
        let outcome = match again {
            None if retry.is_some() => format!("given up{reason}"),
            None => reason,
            Some(chosen) => {
                let wait = chosen.map_or_else(
                    || INITIAL_BACKOFF.saturating_mul(1 << (runs - 1).min(16)).min(MAX_BACKOFF),
                    |ms| Duration::from_millis(ms.into()),
                );
                pending.due = Instant::now() + wait;
                format!("again in {} ms{reason}", milliseconds(wait))
            }
        };
        let (id, name, run) = (pending.id.clone(), pending.name.clone(), pending.runs);
        self.record.add(Action::JobRan { id, name, run, outcome });
        if again.is_some() {
            self.lock().pending.push(pending);
        }
    }

    /// Removes and returns the job that is due first. Jobs that are due at the same time are
    /// returned in the order in which they were queued.
    fn take_next(&self) -> Option<PendingJob> {
        let mut queue = self.lock();
        let jobs = queue.pending.iter().enumerate();
        let (index, _) = jobs.min_by_key(|(_, job)| job.due)?;
        Some(queue.pending.remove(index))
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }
}

impl JobQueue for Jobs {
    fn add<'a>(
        &'a self,
        _plugin: &'a str,
        _call: &'a str,
        job: NewJob,
        max_pending: u32,
    ) -> BoxFuture<'a, Result<String, HostError>> {
        let mut queue = self.lock();
        if queue.pending.len() >= max_pending as usize {
            let reason = format!("{max_pending} jobs are waiting already");
            return Box::pin(ready(Err(HostError::QuotaExceeded(reason))));
        }
        queue.scheduled += 1;
        let id = format!("job-{}", queue.scheduled);
        self.record.add(Action::JobAsked {
            id: id.clone(),
            name: job.name.clone(),
            payload: job.payload.clone(),
            when: when(job.when),
        });
        let wait = match job.when {
            JobWhen::AfterResponse => Duration::ZERO,
            JobWhen::AfterDelay(wait) | JobWhen::AfterBoot { within: wait } => wait,
        };
        queue.pending.push(PendingJob {
            id: id.clone(),
            name: job.name,
            payload: job.payload,
            due: Instant::now() + wait,
            waits_for_boot: matches!(job.when, JobWhen::AfterBoot { .. }),
            runs: 0,
            boot_outcome: BootOutcome::NotWaitedFor,
        });
        drop(queue);
        Box::pin(ready(Ok(id)))
    }

    fn cancel<'a>(
        &'a self,
        _plugin: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        let mut queue = self.lock();
        let before = queue.pending.len();
        queue.pending.retain(|job| job.id != id);
        let was_pending = queue.pending.len() < before;
        drop(queue);
        if was_pending {
            self.record.add(Action::JobCancelled { id: id.to_owned() });
        }
        Box::pin(ready(Ok(was_pending)))
    }
}

/// Formats the due time of a job with the names of `jobs.wit`.
fn when(when: JobWhen) -> String {
    match when {
        JobWhen::AfterResponse => "after-response".to_owned(),
        JobWhen::AfterDelay(delay) => format!("after-delay {} ms", milliseconds(delay)),
        JobWhen::AfterBoot { within } => format!("after-boot within {} ms", milliseconds(within)),
    }
}

#[cfg(test)]
mod tests {
    use plugin::{PluginSettings, Power};

    use super::*;
    use crate::desk::device::Device;
    use crate::desk::{Event, engine};

    /// Schedules jobs by name, runs them until the queue is empty, and returns the recorded
    /// events.
    async fn run(jobs: &[(&str, JobWhen)], reboot_after: Option<Duration>) -> Vec<Event> {
        let engine = engine(0).unwrap();
        let guest = fixtures::guest("lasts.wat");
        let plugin = engine.load("lasts", &guest, PluginSettings::default()).unwrap();
        let device = Device::new(&Desk::default());
        for (name, when) in jobs {
            let job = NewJob { name: (*name).into(), payload: "null".into(), when: *when };
            device.jobs.add("lasts", "call-1", job, 64).await.unwrap();
        }
        if let Some(delay) = reboot_after {
            device.power.request_reboot("lasts", delay, "because").await.unwrap();
        }
        device.pass(&plugin, None).await.unwrap();
        device.record.take()
    }

    /// Returns the time and outcome of each run and each boot.
    fn runs(events: &[Event]) -> Vec<(u64, &str)> {
        let mut runs = Vec::new();
        for Event { at_ms, action } in events {
            match action {
                Action::JobRan { outcome, .. } => runs.push((*at_ms, outcome.as_str())),
                Action::Booted => runs.push((*at_ms, "booted")),
                _ => {}
            }
        }
        runs
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_run_when_they_are_due() {
        let seconds = |seconds| JobWhen::AfterDelay(Duration::from_secs(seconds));
        let jobs = [("nine", seconds(9)), ("five", seconds(5)), ("zero", JobWhen::AfterResponse)];

        let events = run(&jobs, None).await;
        assert_eq!(runs(&events), [(0, "done"), (5000, "done"), (9000, "done")]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_waits_for_a_boot_gets_its_outcome() {
        let within = JobWhen::AfterBoot { within: Duration::from_secs(60) };
        let (rebooted, expired) = ("again in 1 ms", "again in 3 ms");

        let events = run(&[("boot", within)], Some(Duration::from_secs(5))).await;
        assert_eq!(runs(&events)[..2], [(5000, "booted"), (5000, rebooted)]);
        let events = run(&[("boot", within)], None).await;
        assert_eq!(runs(&events)[0], (60_000, expired));
        let events = run(&[("boot", within)], Some(Duration::from_secs(70))).await;
        assert_eq!(runs(&events)[0], (60_000, expired));
    }

    #[tokio::test(start_paused = true)]
    async fn a_restart_of_the_host_is_the_outcome_of_an_expired_wait() {
        let engine = engine(0).unwrap();
        let guest = fixtures::guest("lasts.wat");
        let plugin = engine.load("lasts", &guest, PluginSettings::default()).unwrap();
        let device = Device::new(&Desk::default());
        let when = JobWhen::AfterBoot { within: Duration::from_secs(60) };
        let job = NewJob { name: "boot".into(), payload: "null".into(), when };
        device.jobs.add("lasts", "call-1", job, 64).await.unwrap();

        device.jobs.host_restarted();
        device.pass(&plugin, None).await.unwrap();
        assert_eq!(runs(&device.record.take())[0], (60_000, "again in 2 ms"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_job_is_retried_with_increasing_delays_up_to_a_limit() {
        let events = run(&[("later", JobWhen::AfterResponse)], None).await;

        let runs = runs(&events);
        let begin =
            [(0, "again in 1000 ms"), (1000, "again in 2000 ms"), (3000, "again in 4000 ms")];
        assert_eq!(runs[..3], begin);
        assert_eq!((runs.len(), runs[8].1, runs[9].1), (10, "again in 256000 ms", "given up"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_runs_is_limited() {
        let jobs: Vec<_> = (0..20).map(|_| ("later", JobWhen::AfterResponse)).collect();

        let events = run(&jobs, None).await;
        assert_eq!(runs(&events).len(), 100);
        assert_eq!(events.last().unwrap().action, Action::JobsLeft { runs: 100 });
    }

    #[tokio::test(start_paused = true)]
    async fn a_rejected_or_failed_job_is_recorded_with_its_reason() {
        let now = JobWhen::AfterResponse;

        let events = run(&[("reject", now), ("other", now)], None).await;
        let runs = runs(&events);
        assert_eq!(runs[..2], [(0, "rejected: because"), (0, "again in 1000 ms: because")]);
    }
}
