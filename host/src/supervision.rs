//! Supervision of the host's essential tasks.
//!
//! If a task panics or returns early, the host would seem alive but do only part of its
//! work. [`Supervisor::ended`] returns the first such end. The host then exits, and its
//! service manager restarts it.
//!
//! If there is a watchdog, each task also sends heartbeats through its [`Pulse`], and
//! [`Supervisor::silent`] returns the tasks that have missed theirs. Without a watchdog,
//! no task wakes up to send a heartbeat.
//!
//! [`Supervisor::watch`] suits tasks whose only waits are those for their next event, which
//! have no limit. Their heartbeats show that they are polled and that their code does not
//! block. [`Pulse::over`] suits tasks that run one step after another: they send heartbeats
//! while they wait for an event, and set a time limit for each step, so that a step that never
//! ends is noticed.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::error;

/// Heartbeats within the watchdog's timeout. A task is silent after half of the timeout,
/// which is three missed heartbeats.
const PULSES: u32 = 6;

/// Unexpected end of a task.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("task `{task}` {how}")]
pub struct TaskEnded {
    task: &'static str,
    how: String,
}

/// Supervisor of a process's tasks. Clones share their state.
#[derive(Clone)]
pub(crate) struct Supervisor(Arc<Supervised>);

/// State that the clones of a supervisor share.
struct Supervised {
    began: Instant,
    /// Interval of the heartbeats; `None` without a watchdog.
    interval: Option<Duration>,
    stopping: AtomicBool,
    ended: watch::Sender<Option<TaskEnded>>,
    tasks: Mutex<Vec<Weak<Task>>>,
}

/// Supervised task.
struct Task {
    name: &'static str,
    /// Time after which the task counts as silent, in milliseconds since the supervisor
    /// was created.
    silent_after: AtomicU64,
}

/// Heartbeat of one task.
#[derive(Clone)]
pub(crate) struct Pulse {
    supervised: Arc<Supervised>,
    task: Arc<Task>,
}

impl Supervisor {
    /// Creates a supervisor for a service manager that ends the process after `watchdog`
    /// without a notification.
    pub(crate) fn new(watchdog: Option<Duration>) -> Supervisor {
        Supervisor(Arc::new(Supervised {
            began: Instant::now(),
            interval: watchdog.map(|limit| limit / PULSES),
            stopping: AtomicBool::new(false),
            ended: watch::Sender::new(None),
            tasks: Mutex::default(),
        }))
    }

    /// Supervises a task that returns only after [`Supervisor::stopping`], and sends its
    /// heartbeats.
    pub(crate) fn watch<F>(&self, name: &'static str, work: F) -> impl Future<Output = ()> + use<F>
    where
        F: Future<Output = ()>,
    {
        let pulse = self.pulse(name);
        async move {
            let mut work = std::pin::pin!(caught(work));
            let outcome = loop {
                tokio::select! {
                    biased;
                    outcome = &mut work => break outcome,
                    () = pulse.due() => pulse.beat(),
                }
            };
            pulse.ended(outcome);
        }
    }

    /// Returns the pulse of a new task, for [`Pulse::over`].
    pub(crate) fn pulse(&self, name: &'static str) -> Pulse {
        let task = Arc::new(Task { name, silent_after: AtomicU64::new(0) });
        let pulse = Pulse { supervised: Arc::clone(&self.0), task };
        pulse.beat();
        let mut tasks = self.0.tasks.lock();
        tasks.retain(|task| task.strong_count() > 0);
        tasks.push(Arc::downgrade(&pulse.task));
        pulse
    }

    /// Returns the tasks that have missed their heartbeats.
    pub(crate) fn silent(&self) -> Vec<&'static str> {
        let now = self.0.millis();
        let tasks = self.0.tasks.lock();
        let tasks = tasks.iter().filter_map(Weak::upgrade);
        let silent = tasks.filter(|task| task.silent_after.load(Ordering::Relaxed) < now);
        silent.map(|task| task.name).collect()
    }

    /// Waits for the first unexpected end of a task.
    pub(crate) async fn ended(&self) -> TaskEnded {
        let mut ended = self.0.ended.subscribe();
        let first = ended.wait_for(Option::is_some).await.ok().and_then(|first| first.clone());
        match first {
            Some(first) => first,
            // The sender is in `self`.
            None => std::future::pending().await,
        }
    }

    /// Allows all tasks to return from now on.
    pub(crate) fn stopping(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }
}

impl Supervised {
    /// Returns the milliseconds since the supervisor was created.
    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Pulse {
    /// Supervises a task that returns only after [`Supervisor::stopping`] and sends its
    /// heartbeats itself.
    pub(crate) async fn over(self, work: impl Future<Output = ()>) {
        let outcome = caught(work).await;
        self.ended(outcome);
    }

    /// Sends a heartbeat.
    pub(crate) fn beat(&self) {
        self.allow(Duration::ZERO);
    }

    /// Runs a step that may take up to `limit`, with a heartbeat before and after it.
    pub(crate) async fn during<T>(&self, limit: Duration, step: impl Future<Output = T>) -> T {
        self.allow(limit);
        let done = step.await;
        self.beat();
        done
    }

    /// Sends a heartbeat that is valid for `limit` longer than usual.
    pub(crate) fn allow(&self, limit: Duration) {
        let Some(interval) = self.supervised.interval else {
            self.task.silent_after.store(u64::MAX, Ordering::Relaxed);
            return;
        };
        let patience = u64::try_from((interval * (PULSES / 2) + limit).as_millis());
        let until = self.supervised.millis().saturating_add(patience.unwrap_or(u64::MAX));
        self.task.silent_after.store(until, Ordering::Relaxed);
    }

    /// Returns the interval of the heartbeats, or `None` without a watchdog.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.supervised.interval
    }

    /// Waits for one interval of the heartbeats.
    pub(crate) async fn due(&self) {
        match self.supervised.interval {
            Some(interval) => sleep(interval).await,
            None => std::future::pending().await,
        }
    }

    /// Reports the end of the task. `Err` contains the message of its panic.
    pub(crate) fn ended(&self, outcome: Result<(), String>) {
        let stopping = self.supervised.stopping.load(Ordering::Relaxed);
        let how = match outcome {
            Err(panic) => format!("panicked: {panic}"),
            Ok(()) if stopping => return,
            Ok(()) => "returned before the host was to stop".to_owned(),
        };
        let ended = TaskEnded { task: self.task.name, how };
        error!("{ended}: the host stops, because it cannot work without this task");
        self.supervised.ended.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(ended);
            is_first
        });
    }
}

/// Runs `work` to completion. A panic is returned as an error that contains its message.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| panic_text(&*panic))
}

/// Returns the message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const WATCHDOG: Duration = Duration::from_secs(60);

    async fn first_end(supervisor: &Supervisor) -> String {
        supervisor.ended().await.to_string()
    }

    #[tokio::test]
    async fn a_task_that_panics_or_returns_is_named_with_the_reason() {
        let supervisor = Supervisor::new(None);
        tokio::spawn(supervisor.watch("idle", pending()));
        tokio::spawn(supervisor.watch("jobs", async { panic!("out of {}", "order") }));
        assert_eq!(first_end(&supervisor).await, "task `jobs` panicked: out of order");

        let supervisor = Supervisor::new(None);
        tokio::spawn(supervisor.pulse("swap").over(ready(())));
        assert_eq!(
            first_end(&supervisor).await,
            "task `swap` returned before the host was to stop"
        );
        // Later ends are consequences of the first, so only the first is reported.
        supervisor.watch("other", ready(())).await;
        assert_eq!(
            first_end(&supervisor).await,
            "task `swap` returned before the host was to stop"
        );
    }

    #[tokio::test]
    async fn a_task_may_return_when_the_host_stops() {
        let supervisor = Supervisor::new(None);
        supervisor.stopping();
        supervisor.watch("jobs", ready(())).await;
        assert!(supervisor.ended().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_task_is_never_silent() {
        let supervisor = Supervisor::new(Some(WATCHDOG));
        let idle = tokio::spawn(supervisor.watch("idle", pending()));
        for _ in 0..100 {
            sleep(WATCHDOG / 3).await;
            assert!(supervisor.silent().is_empty());
        }
        idle.abort();
        sleep(2 * WATCHDOG).await;
        assert!(supervisor.silent().is_empty(), "a dropped task is not silent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_is_no_longer_polled_is_silent() {
        let supervisor = Supervisor::new(Some(WATCHDOG));
        let mut stuck = std::pin::pin!(supervisor.watch("stuck", pending()));
        assert!(stuck.as_mut().now_or_never().is_none());
        sleep(WATCHDOG / 2).await;
        assert!(supervisor.silent().is_empty());
        sleep(WATCHDOG / 2).await;
        assert_eq!(supervisor.silent(), ["stuck"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_is_silent_only_after_its_limit() {
        let supervisor = Supervisor::new(Some(WATCHDOG));
        let step = 10 * WATCHDOG;
        let pulse = supervisor.pulse("swap");
        tokio::spawn(pulse.clone().over(async move {
            pulse.during(step, sleep(step)).await;
            pulse.during(step, pending::<()>()).await;
        }));
        for _ in 0..40 {
            sleep(WATCHDOG / 2).await;
            assert!(supervisor.silent().is_empty());
        }
        sleep(WATCHDOG).await;
        assert_eq!(supervisor.silent(), ["swap"]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watchdog_nothing_is_silent() {
        let supervisor = Supervisor::new(None);
        let pulse = supervisor.pulse("journal");
        assert!(pulse.due().now_or_never().is_none());
        sleep(10 * WATCHDOG).await;
        assert!(supervisor.silent().is_empty());
    }
}
