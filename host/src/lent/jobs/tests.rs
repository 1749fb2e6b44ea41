//! Tests of jobs, with a journal and a scripted plugin.

use std::collections::VecDeque;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use plugin::{BootOutcome, JobWhen, NewJob};
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::journal::tests::{TestDisk, journal};
use crate::lent::clock::tests::TestClock;

mod faults;

/// The reason of a scripted rejection for which the runner panics instead.
const PANIC: &str = "panic";

/// A plugin whose first attempts end as scripted. All further attempts succeed.
#[derive(Default)]
struct Plugin {
    script: Mutex<VecDeque<JobEnd>>,
    ran: Mutex<Vec<(String, u32, BootOutcome)>>,
    changed: Notify,
    /// The name of a plugin whose attempts never end.
    stuck: Option<&'static str>,
}

impl Plugin {
    fn scripted(ends: impl IntoIterator<Item = JobEnd>) -> Arc<Plugin> {
        Arc::new(Plugin { script: Mutex::new(ends.into_iter().collect()), ..Plugin::default() })
    }

    /// Waits for a number of attempts, and returns all attempts so far.
    async fn ran(&self, attempts: usize) -> Vec<(String, u32, BootOutcome)> {
        loop {
            let changed = self.changed.notified();
            let ran = self.ran.lock().clone();
            if ran.len() >= attempts {
                return ran;
            }
            changed.await;
        }
    }
}

impl Runner for Plugin {
    fn can_run_jobs(&self, _plugin: &str) -> bool {
        true
    }

    fn max_attempts(&self, _plugin: &str) -> u32 {
        3
    }

    fn run_job<'a>(&'a self, job: JobCall<'a>) -> BoxFuture<'a, JobEnd> {
        self.ran.lock().push((job.payload.to_owned(), job.attempt, job.boot_outcome));
        self.changed.notify_one();
        let end = self.script.lock().pop_front().unwrap_or(JobEnd::Done);
        let panics = matches!(&end, JobEnd::Rejected(reason) if reason == PANIC);
        let is_stuck = self.stuck == Some(job.plugin);
        Box::pin(async move {
            if is_stuck {
                std::future::pending::<()>().await;
            }
            assert!(!panics, "the runner is broken");
            end
        })
    }
}

fn boot(id: &str) -> Option<Boot> {
    Some(Boot { id: id.to_owned() })
}

/// Returns the jobs of one run of the host, in one boot.
fn jobs(journal: Journal, boot_id: &str) -> Arc<Jobs> {
    jobs_at(journal, boot_id, &clock())
}

fn jobs_at(journal: Journal, boot_id: &str, clock: &Arc<TestClock>) -> Arc<Jobs> {
    Arc::new(Jobs::new(Arc::new(journal), Arc::clone(clock) as _, boot(boot_id)))
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock::at("2026-01-01T12:00:00Z"))
}

fn run(jobs: &Arc<Jobs>, plugin: &Arc<Plugin>) -> AbortOnDropHandle<()> {
    let runner: Arc<dyn Runner> = Arc::clone(plugin) as _;
    AbortOnDropHandle::new(tokio::spawn(Arc::clone(jobs).run(runner)))
}

async fn add(jobs: &Jobs, payload: &str, when: JobWhen) -> Result<String, HostError> {
    let job = NewJob { name: "job".into(), payload: payload.into(), when };
    jobs.add("p", "call-1", job, 3).await
}

async fn until_empty(jobs: &Jobs) {
    while !jobs.queue.lock().plugins().is_empty() || !jobs.is_idle() {
        tokio::task::yield_now().await;
    }
}

const AT_ONCE: JobWhen = JobWhen::AfterDelay(Duration::ZERO);
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_job_runs_once_and_is_removed_from_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Plugin::scripted([]);
    let first = jobs(journal(&directory), "b1");
    add(&first, "1", AT_ONCE).await.unwrap();
    let running = run(&first, &plugin);
    assert_eq!(plugin.ran(1).await, [("1".to_owned(), 1, BootOutcome::NotWaitedFor)]);
    until_empty(&first).await;
    first.journal.close().await;
    drop((running, first));

    assert!(Mirrored::<ScheduledJobs>::found(&journal(&directory)).is_empty());
}

#[tokio::test]
async fn a_message_survives_a_restart_and_counts_as_a_job() {
    let directory = tempfile::tempdir().unwrap();
    let first = jobs(journal(&directory), "b1");
    let message = CloudMessage { body: b"hi".to_vec(), properties: Vec::new() };
    for _ in 0..3 {
        first.add_message("p", &message, 3).await.unwrap();
    }
    let refused = first.add_message("p", &message, 3).await.unwrap_err();
    assert_eq!(refused, HostError::QuotaExceeded("this plugin already has 3 jobs".into()));
    first.journal.close().await;
    drop(first);

    let plugin = Plugin::scripted([]);
    let second = jobs(journal(&directory), "b1");
    assert_eq!(second.list()[0].name, MESSAGE_JOB);
    let _running = run(&second, &plugin);
    let ran = plugin.ran(3).await;
    assert_eq!(CloudMessage::from_payload(&ran[2].0), Some(message));
    until_empty(&second).await;
}

#[tokio::test]
async fn an_operator_cannot_cancel_a_running_job() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Arc::new(Plugin { stuck: Some("p"), ..Plugin::default() });
    let jobs = jobs(journal(&directory), "b1");
    let id = add(&jobs, "1", AT_ONCE).await.unwrap();
    let _running = run(&jobs, &plugin);
    plugin.ran(1).await;

    let listed = jobs.list();
    assert_eq!((listed[0].state, listed[0].attempts), (ListedState::Running, 1));
    assert_eq!(jobs.cancel_for_operator(&id).await.unwrap(), Err(NotCancelled::Running));
    assert_eq!(jobs.cancel_for_operator("j0").await.unwrap(), Err(NotCancelled::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_failing_job_is_retried_and_given_up_after_the_last_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let failed = || JobEnd::Failed { retry_after: None, reason: "no".into() };
    let plugin = Plugin::scripted((0..20).map(|_| failed()));
    let jobs = jobs(journal(&directory), "b1");
    add(&jobs, "1", AT_ONCE).await.unwrap();
    let _running = run(&jobs, &plugin);

    let ran = plugin.ran(3).await;
    until_empty(&jobs).await;

    assert_eq!(ran.last().unwrap().1, 3);
    assert_eq!(plugin.ran.lock().len(), 3);
    assert_eq!(jobs.given_up.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_job_ends_and_a_retry_runs_after_the_plugins_delay() {
    let directory = tempfile::tempdir().unwrap();
    let later = JobEnd::Failed { retry_after: Some(HOUR), reason: "later".into() };
    let plugin = Plugin::scripted([later, JobEnd::Rejected("never".into())]);
    let jobs = jobs(journal(&directory), "b1");
    let begun = Instant::now();
    add(&jobs, "1", AT_ONCE).await.unwrap();
    let _running = run(&jobs, &plugin);

    assert_eq!(plugin.ran(2).await[1].1, 2);
    assert!(begun.elapsed() >= HOUR);
    until_empty(&jobs).await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_accepts_no_calls_uses_no_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Plugin::scripted((0..30).map(|_| JobEnd::NotNow("disabled".into())));
    let jobs = jobs(journal(&directory), "b1");
    add(&jobs, "1", AT_ONCE).await.unwrap();
    let _running = run(&jobs, &plugin);

    let ran = plugin.ran(31).await;
    assert!(ran.iter().all(|(_, attempt, _)| *attempt == 1), "{ran:?}");
}

#[tokio::test]
async fn a_job_after_the_answer_waits_for_its_own_call_or_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Plugin::scripted([]);
    let first = jobs(journal(&directory), "b1");
    let running = run(&first, &plugin);
    add(&first, "1", JobWhen::AfterResponse).await.unwrap();
    first.call_ended("call-2");
    first.call_ended("call-1");
    plugin.ran(1).await;
    until_empty(&first).await;
    add(&first, "2", JobWhen::AfterResponse).await.unwrap();
    first.journal.close().await;
    drop((running, first));

    let second = jobs(journal(&directory), "b1");
    let _running = run(&second, &plugin);
    assert_eq!(plugin.ran(2).await[1].0, "2");
}

#[tokio::test]
async fn a_job_can_be_cancelled_once_and_only_by_its_own_plugin() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Plugin::scripted([]);
    let jobs = jobs(journal(&directory), "b1");
    let id = add(&jobs, "1", JobWhen::AfterDelay(HOUR)).await.unwrap();
    assert!(!jobs.cancel("other", &id).await.unwrap());
    assert!(jobs.cancel("p", &id).await.unwrap());
    assert!(!jobs.cancel("p", &id).await.unwrap());

    let _running = run(&jobs, &plugin);
    add(&jobs, "2", AT_ONCE).await.unwrap();
    assert_eq!(plugin.ran(1).await[0].0, "2");
}

#[tokio::test]
async fn the_number_of_jobs_of_a_plugin_is_limited() {
    let directory = tempfile::tempdir().unwrap();
    let jobs = jobs(journal(&directory), "b1");
    for _ in 0..3 {
        add(&jobs, "1", JobWhen::AfterDelay(HOUR)).await.unwrap();
    }
    let error = add(&jobs, "1", JobWhen::AfterDelay(HOUR)).await.unwrap_err();
    assert_eq!(error, HostError::QuotaExceeded("this plugin already has 3 jobs".into()));
}

#[tokio::test]
async fn a_full_disk_accepts_and_starts_no_job() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let plugin = Plugin::scripted([]);
    let jobs = jobs(disk.journal(directory.path()), "b1");
    add(&jobs, "1", AT_ONCE).await.unwrap();

    disk.fill_after(0);
    let error = add(&jobs, "2", AT_ONCE).await.unwrap_err();
    assert!(error.to_string().starts_with("not written to disk"), "{error}");
    let _running = run(&jobs, &plugin);
    jobs.journal.flush().await.unwrap_err();
    assert!(plugin.ran.lock().is_empty());

    disk.make_room();
    assert_eq!(plugin.ran(1).await, [("1".to_owned(), 1, BootOutcome::NotWaitedFor)]);
    until_empty(&jobs).await;
}

#[tokio::test]
async fn a_job_after_a_boot_runs_once_the_machine_has_booted() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Plugin::scripted([]);
    let first = jobs(journal(&directory), "b1");
    add(&first, "1", JobWhen::AfterBoot { within: HOUR }).await.unwrap();
    first.journal.close().await;
    drop(first);

    // The host is restarted and the machine is not, so the job still waits.
    let second = jobs(journal(&directory), "b1");
    let running = run(&second, &plugin);
    add(&second, "2", AT_ONCE).await.unwrap();
    assert_eq!(plugin.ran(1).await[0].0, "2");
    until_idle(&second).await;
    second.journal.close().await;
    drop((running, second));

    let third = jobs(journal(&directory), "b2");
    let _running = run(&third, &plugin);
    assert_eq!(plugin.ran(2).await[1], ("1".to_owned(), 1, BootOutcome::Rebooted));
}

/// Waits until no job is running.
async fn until_idle(jobs: &Jobs) {
    while !jobs.is_idle() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_missing_boot_and_a_restart_of_the_host_have_different_outcomes() {
    let directory = tempfile::tempdir().unwrap();
    let (plugin, clock) = (Plugin::scripted([]), clock());
    let first = jobs_at(journal(&directory), "b1", &clock);
    add(&first, "1", JobWhen::AfterBoot { within: HOUR }).await.unwrap();
    add(&first, "2", JobWhen::AfterBoot { within: 2 * HOUR }).await.unwrap();
    clock.suspend(HOUR);
    let running = run(&first, &plugin);
    assert_eq!(plugin.ran(1).await[0], ("1".to_owned(), 1, BootOutcome::Expired));
    until_idle(&first).await;
    first.journal.close().await;
    drop((running, first));

    clock.suspend(HOUR);
    let second = jobs_at(journal(&directory), "b1", &clock);
    let _running = run(&second, &plugin);
    assert_eq!(plugin.ran(2).await[1], ("2".to_owned(), 1, BootOutcome::HostRestartedOnly));
}

/// A machine without a battery for its clock boots in 1970.
#[tokio::test]
async fn a_boot_is_detected_even_if_the_clock_is_set_by_years() {
    for [scheduled, booted] in [
        ["1970-01-01T00:01:00Z", "2026-01-01T12:00:00Z"],
        ["2026-01-01T12:00:00Z", "1970-01-01T00:01:00Z"],
    ] {
        let directory = tempfile::tempdir().unwrap();
        let plugin = Plugin::scripted([]);
        let first = jobs_at(journal(&directory), "b1", &Arc::new(TestClock::at(scheduled)));
        add(&first, "1", JobWhen::AfterBoot { within: HOUR }).await.unwrap();
        first.journal.close().await;
        drop(first);

        let second = jobs_at(journal(&directory), "b2", &Arc::new(TestClock::at(booted)));
        let _running = run(&second, &plugin);
        assert_eq!(
            plugin.ran(1).await[0],
            ("1".to_owned(), 1, BootOutcome::Rebooted),
            "{scheduled}"
        );
    }
}

/// A time server can set the clock of a running host.
#[tokio::test(start_paused = true)]
async fn setting_the_clock_by_a_day_neither_hastens_nor_delays_a_job() {
    for set in ["2026-01-02T12:00:00Z", "2025-12-31T12:00:00Z"] {
        let directory = tempfile::tempdir().unwrap();
        let (plugin, clock) = (Plugin::scripted([]), clock());
        let jobs = jobs_at(journal(&directory), "b1", &clock);
        add(&jobs, "1", JobWhen::AfterDelay(HOUR)).await.unwrap();
        let _running = run(&jobs, &plugin);
        tokio::time::sleep(HOUR / 2).await;
        clock.set_wall(set);
        tokio::time::sleep(HOUR / 2 - Duration::from_secs(1)).await;
        assert!(plugin.ran.lock().is_empty(), "{set}");

        plugin.ran(1).await;
        assert!(clock.ticks() < HOUR + MAX_SLEEP, "{set}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_was_suspended_runs_the_jobs_that_became_due() {
    let directory = tempfile::tempdir().unwrap();
    let (plugin, clock) = (Plugin::scripted([]), clock());
    let jobs = jobs_at(journal(&directory), "b1", &clock);
    add(&jobs, "1", JobWhen::AfterDelay(HOUR)).await.unwrap();
    let _running = run(&jobs, &plugin);
    tokio::task::yield_now().await;
    clock.suspend(2 * HOUR);
    let woken = Instant::now();
    plugin.ran(1).await;
    assert!(woken.elapsed() <= MAX_SLEEP);
}

#[tokio::test]
async fn after_a_restart_a_job_waits_for_at_most_its_remaining_delay() {
    let directory = tempfile::tempdir().unwrap();
    let first = jobs(journal(&directory), "b1");
    add(&first, "1", JobWhen::AfterDelay(HOUR)).await.unwrap();
    first.journal.close().await;
    drop(first);

    for (wall, left) in [
        ("2026-01-01T12:45:00Z", HOUR / 4),
        ("2026-01-01T15:00:00Z", Duration::ZERO),
        ("2025-12-31T12:00:00Z", HOUR),
        ("1970-01-01T00:00:00Z", HOUR),
    ] {
        let again = jobs_at(journal(&directory), "b1", &Arc::new(TestClock::at(wall)));
        let due = again.queue.lock().next_due(|_| true).unwrap();
        assert!(due.abs_diff(left) < Duration::from_secs(60), "{wall}: {due:?}");
        again.journal.close().await;
    }
}
