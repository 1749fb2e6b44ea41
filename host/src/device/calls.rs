//! Calls in progress. A quick call runs in the task that has read its method, any other in a
//! separate task.
//!
//! A task costs more than most calls: an allocation, the runtime's queues, often a wake-up of
//! another thread, and a separate write for the answer. Therefore a call is first polled in
//! place and becomes a task only if it has to wait. A busy guest yields at its first tick,
//! after at most 10 ms, and then becomes a task.
//!
//! A method whose last call had to wait, or whose last calls all took long, gets a task
//! immediately. Its calls then run on all cores and delay no other call.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// Maximum duration of a quick call: ten times the cost of a task, which wakes other threads.
const QUICK: Duration = Duration::from_micros(300);

/// Number of consecutive long calls after which a method is slow. A single long call is often
/// caused by the scheduler of a busy machine.
const LONG_CALLS: u8 = 3;

/// Maximum number of names in [`SlowMethods`]. For a plugin that serves all methods, callers
/// choose the names.
const MAX_NAMES: usize = 1024;

/// Calls of a device that are in progress.
pub(super) struct Calls {
    /// Runtime of the calls that are not quick, and of the timers of all calls.
    workers: Handle,
    running: TaskTracker,
    slow: Arc<SlowMethods>,
}

/// Number of consecutive long calls by method. A method whose last call was quick has no entry.
#[derive(Default)]
struct SlowMethods(Mutex<HashMap<String, u8>>);

impl Calls {
    pub(super) fn new(workers: Handle) -> Calls {
        Calls { workers, running: TaskTracker::new(), slow: Arc::default() }
    }

    /// Polls a call of a method in place, and continues it in a task if it has to wait.
    pub(super) fn start(&self, method: &str, call: impl Future<Output = ()> + Send + 'static) {
        let call = self.running.track_future(call);
        if self.slow.contains(method) {
            let (slow, method) = (Arc::clone(&self.slow), method.to_owned());
            self.workers.spawn(async move {
                let begun = Instant::now();
                call.await;
                slow.ended(&method, begun.elapsed());
            });
            return;
        }
        let mut call = Box::pin(call);
        let _workers = self.workers.enter();
        let begun = Instant::now();
        // The task registers its own waker when it polls the call again.
        let mut context = Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut context)));
        // The panic hook has logged a panic, which ends only this call.
        if let Ok(Poll::Pending) = polled {
            self.slow.waited(method);
            self.workers.spawn(call);
        } else {
            self.slow.ended(method, begun.elapsed());
        }
    }

    /// Returns the number of calls in progress.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }
}

impl SlowMethods {
    /// Returns `true` if calls of the method need tasks of their own.
    fn contains(&self, method: &str) -> bool {
        self.0.lock().get(method).is_some_and(|long_calls| *long_calls >= LONG_CALLS)
    }

    /// Records that a call had to wait.
    fn waited(&self, method: &str) {
        self.record(method, LONG_CALLS);
    }

    /// Records the duration of a call.
    fn ended(&self, method: &str, elapsed: Duration) {
        if elapsed > QUICK {
            self.record(method, 1);
        } else {
            self.0.lock().remove(method);
        }
    }

    fn record(&self, method: &str, long_calls: u8) {
        let mut methods = self.0.lock();
        if let Some(count) = methods.get_mut(method) {
            *count = count.saturating_add(long_calls);
            return;
        }
        if methods.len() >= MAX_NAMES {
            methods.clear();
        }
        methods.insert(method.to_owned(), long_calls);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;
    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn a_call_that_does_not_wait_completes_in_place() {
        let calls = Calls::new(Handle::current());
        let (ended, has_ended) = oneshot::channel();
        calls.start("m", async { ended.send(()).unwrap() });
        assert_eq!((calls.len(), has_ended.await), (0, Ok(())));
    }

    #[tokio::test]
    async fn a_call_that_waits_continues_in_a_task() {
        let calls = Calls::new(Handle::current());
        let (go_on, waits) = oneshot::channel();
        let (ended, has_ended) = oneshot::channel();
        calls.start("m", async {
            yield_now().await;
            ended.send(waits.await).unwrap();
        });
        assert_eq!(calls.len(), 1);
        go_on.send(7).unwrap();
        assert_eq!(has_ended.await, Ok(Ok(7)));
    }

    #[tokio::test]
    async fn a_panic_in_a_call_does_not_affect_other_calls() {
        let calls = Calls::new(Handle::current());
        calls.start("panics", async { panic!("for a test") });
        calls.start("m", ready(()));
        assert_eq!(calls.len(), 0);
    }

    #[tokio::test]
    async fn a_method_that_had_to_wait_runs_in_a_task_until_a_call_is_quick() {
        let calls = Calls::new(Handle::current());
        calls.start("slow", yield_now());
        while calls.len() > 0 {
            yield_now().await;
        }
        let (ended, has_ended) = oneshot::channel();
        calls.start("slow", async { ended.send(()).unwrap() });
        assert_eq!(calls.len(), 1, "in a task");
        assert_eq!(has_ended.await, Ok(()));
    }

    #[tokio::test]
    async fn the_number_of_slow_methods_is_limited() {
        let calls = Calls::new(Handle::current());
        (0..=2 * MAX_NAMES).for_each(|name| calls.start(&name.to_string(), pending()));
        assert!(calls.slow.0.lock().len() <= MAX_NAMES);
    }
}
