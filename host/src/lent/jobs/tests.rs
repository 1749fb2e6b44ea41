//! Jobs on a journal of their own, run by a scripted plugin.

use std::collections::VecDeque;

use parking_lot::Mutex;
use plugin::JobWhen;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::journal::tests::{TestDisk, journal};

/// A plugin that ends attempts as scripted, and then succeeds.
#[derive(Default)]
struct Plugin {
    told: Mutex<VecDeque<JobEnd>>,
    ran: Mutex<Vec<(String, u32, BootOutcome)>>,
    changed: Notify,
}

impl Plugin {
    fn told(ends: impl IntoIterator<Item = JobEnd>) -> Arc<Plugin> {
        Arc::new(Plugin { told: Mutex::new(ends.into_iter().collect()), ..Plugin::default() })
    }

    /// Waits for a number of attempts and returns them.
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
    fn takes_jobs(&self, _plugin: &str) -> bool {
        true
    }

    fn most_attempts(&self, _plugin: &str) -> u32 {
        3
    }

    fn run_job<'a>(&'a self, job: JobCall<'a>) -> BoxFuture<'a, JobEnd> {
        self.ran.lock().push((job.payload.to_owned(), job.attempt, job.boot_outcome));
        self.changed.notify_one();
        let end = self.told.lock().pop_front().unwrap_or(JobEnd::Done);
        Box::pin(async move { end })
    }
}

fn boot(id: &str) -> Option<Boot> {
    Some(Boot { id: id.to_owned(), at: "2026-01-01T00:00:00Z".parse().unwrap() })
}

/// Jobs of one run of the host, in one boot.
fn jobs(journal: Journal, boot_id: &str) -> Arc<Jobs> {
    Arc::new(Jobs::new(Arc::new(journal), Arc::new(plugin::SystemClock), boot(boot_id)))
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
async fn a_job_runs_once_and_is_gone_from_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Plugin::told([]);
    let first = jobs(journal(&directory), "b1");
    add(&first, "1", AT_ONCE).await.unwrap();
    let running = run(&first, &plugin);
    assert_eq!(plugin.ran(1).await, [("1".to_owned(), 1, BootOutcome::NotWaitedFor)]);
    until_empty(&first).await;
    first.journal.close().await;
    drop((running, first));

    assert!(Mirrored::<WaitingJobs>::found(&journal(&directory)).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_job_that_fails_is_tried_again_and_given_up_after_as_many_times_as_it_may() {
    let directory = tempfile::tempdir().unwrap();
    let failed = || JobEnd::Failed { again_after: None, why: "no".into() };
    let plugin = Plugin::told((0..20).map(|_| failed()));
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
async fn a_rejected_job_ends_and_a_retry_comes_when_the_plugin_says() {
    let directory = tempfile::tempdir().unwrap();
    let later = JobEnd::Failed { again_after: Some(HOUR), why: "later".into() };
    let plugin = Plugin::told([later, JobEnd::Rejected("never".into())]);
    let jobs = jobs(journal(&directory), "b1");
    let begun = Instant::now();
    add(&jobs, "1", AT_ONCE).await.unwrap();
    let _running = run(&jobs, &plugin);

    assert_eq!(plugin.ran(2).await[1].1, 2);
    assert!(begun.elapsed() >= HOUR);
    until_empty(&jobs).await;
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_takes_no_calls_uses_up_no_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Plugin::told((0..30).map(|_| JobEnd::NotNow("disabled".into())));
    let jobs = jobs(journal(&directory), "b1");
    add(&jobs, "1", AT_ONCE).await.unwrap();
    let _running = run(&jobs, &plugin);

    let ran = plugin.ran(31).await;
    assert!(ran.iter().all(|(_, attempt, _)| *attempt == 1), "{ran:?}");
}

#[tokio::test]
async fn a_job_after_the_answer_waits_for_its_own_call_or_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Plugin::told([]);
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
async fn a_cancelled_job_does_not_run_and_is_cancelled_by_its_own_plugin_alone() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Plugin::told([]);
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
async fn a_plugin_has_so_many_jobs_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let jobs = jobs(journal(&directory), "b1");
    for _ in 0..3 {
        add(&jobs, "1", JobWhen::AfterDelay(HOUR)).await.unwrap();
    }
    let error = add(&jobs, "1", JobWhen::AfterDelay(HOUR)).await.unwrap_err();
    assert_eq!(error, HostError::QuotaExceeded("3 jobs of this plugin wait already".into()));
}

#[tokio::test]
async fn a_full_disk_takes_no_job_and_begins_none() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let plugin = Plugin::told([]);
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
    let plugin = Plugin::told([]);
    let first = jobs(journal(&directory), "b1");
    add(&first, "1", JobWhen::AfterBoot { within: HOUR }).await.unwrap();
    first.journal.close().await;
    drop(first);

    // The host is started again, the machine is not: it waits on.
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

/// Waits until nothing runs.
async fn until_idle(jobs: &Jobs) {
    while !jobs.is_idle() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_boot_that_did_not_come_is_told_apart_from_a_host_that_was_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let plugin = Plugin::told([]);
    let wall = Arc::new(Wall(Mutex::new("2026-01-01T12:00:00Z".parse().unwrap())));
    let jobs = || {
        let journal = Arc::new(journal(&directory));
        Arc::new(Jobs::new(journal, Arc::clone(&wall) as _, boot("b1")))
    };
    let first = jobs();
    add(&first, "1", JobWhen::AfterBoot { within: HOUR }).await.unwrap();
    add(&first, "2", JobWhen::AfterBoot { within: 2 * HOUR }).await.unwrap();
    wall.go_on(HOUR);
    let running = run(&first, &plugin);
    assert_eq!(plugin.ran(1).await[0], ("1".to_owned(), 1, BootOutcome::Expired));
    until_idle(&first).await;
    first.journal.close().await;
    drop((running, first));

    wall.go_on(HOUR);
    let second = jobs();
    let _running = run(&second, &plugin);
    assert_eq!(plugin.ran(2).await[1], ("2".to_owned(), 1, BootOutcome::HostRestartedOnly));
}

/// A wall clock that the test sets.
struct Wall(Mutex<jiff::Timestamp>);

impl Wall {
    fn go_on(&self, time: Duration) {
        let mut now = self.0.lock();
        *now = now.checked_add(time).unwrap();
    }
}

impl Clock for Wall {
    fn now(&self) -> jiff::Timestamp {
        *self.0.lock()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

mod clocks {
    use super::*;
    use crate::lent::jobs::job::When;

    fn now(wall: &str, ticks: Instant) -> Now {
        Now { wall: wall.parse().unwrap(), ticks }
    }

    fn queue_with(wait: Duration, now: Now) -> WaitingJobs {
        let mut queue = WaitingJobs::new(None, "run".into());
        let new =
            NewJob { name: "job".into(), payload: "1".into(), when: JobWhen::AfterDelay(wait) };
        queue.add("id".into(), "p", "call", new, 1, now).unwrap();
        queue
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_starves_no_job() {
        let begun = Instant::now();
        let queue = queue_with(HOUR, now("2026-01-01T12:00:00Z", begun));
        assert!(queue.due(now("2025-01-01T12:30:00Z", begun + HOUR / 2)).is_empty());
        assert_eq!(queue.due(now("2025-01-01T13:00:00Z", begun + HOUR)).len(), 1);
    }

    #[tokio::test]
    async fn a_machine_that_slept_runs_what_became_due() {
        let begun = Instant::now();
        let queue = queue_with(HOUR, now("2026-01-01T12:00:00Z", begun));
        assert_eq!(queue.due(now("2026-01-01T13:00:00Z", begun)).len(), 1);
    }

    #[tokio::test]
    async fn after_a_restart_a_job_waits_for_what_is_left_and_never_for_more_than_it_asked() {
        let begun = Instant::now();
        let job = {
            let mut queue = queue_with(HOUR, now("2026-01-01T12:00:00Z", begun));
            queue.unsaved().pop().unwrap().1.unwrap()
        };
        assert!(matches!(job.when, When::Time { .. }));
        let left = |wall: &str| {
            let mut queue = WaitingJobs::new(None, "run".into());
            queue.restore("id".into(), job.clone(), now(wall, begun));
            queue.next_due().unwrap() - begun
        };
        assert_eq!(left("2026-01-01T12:45:00Z"), HOUR / 4);
        assert_eq!(left("2026-01-01T15:00:00Z"), Duration::ZERO);
        assert_eq!(left("1970-01-01T00:00:00Z"), HOUR);
    }
}
