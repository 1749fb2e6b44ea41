//! Bounded queue whose entries are taken in batches.
//!
//! [`Queue::push`] never waits: an entry that does not fit is dropped and counted. [`Batches::next`]
//! takes a batch as soon as it is full, or some time after its first entry. The receiver sleeps in
//! between, so that entries which follow one another quickly do not wake it each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Maximum number of entries that wait, as in OpenTelemetry's SDKs.
pub(crate) const MAX_QUEUED: usize = 2048;

/// Maximum number of entries of a batch, and the time for which a smaller number waits for more, as
/// in OpenTelemetry's SDKs.
const BATCH: usize = 512;
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// The entries that wait, on the side of those that add them.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    entries: mpsc::Sender<T>,
    state: Arc<QueueState>,
}

/// The entries that wait, on the side of the receiver.
#[derive(Debug)]
pub(crate) struct Batches<T> {
    entries: mpsc::Receiver<T>,
    state: Arc<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Notified when there are enough entries for a batch. A permit from an earlier batch only makes
    /// the next one smaller.
    is_batch: Notify,
    dropped: AtomicU64,
}

/// Creates an empty queue.
pub(crate) fn queue<T>() -> (Queue<T>, Batches<T>) {
    let (sender, receiver) = mpsc::channel(MAX_QUEUED);
    let state = Arc::new(QueueState::default());
    (Queue { entries: sender, state: Arc::clone(&state) }, Batches { entries: receiver, state })
}

impl<T> Queue<T> {
    /// Adds an entry. Returns `false` if the queue is full, and counts the entry.
    pub(crate) fn push(&self, entry: T) -> bool {
        let is_added = self.entries.try_send(entry).is_ok();
        if !is_added {
            self.count_dropped();
        }
        if self.entries.max_capacity() - self.entries.capacity() >= BATCH {
            self.state.is_batch.notify_one();
        }
        is_added
    }

    /// Counts an entry that the caller drops.
    pub(crate) fn count_dropped(&self) {
        self.state.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T> Batches<T> {
    /// Waits for entries, which may be none after `stopping`. Returns `true` if there will be no
    /// more.
    pub(crate) async fn next(&mut self, stopping: &CancellationToken) -> (Vec<T>, bool) {
        let mut batch = Vec::new();
        let is_last = tokio::select! {
            received = self.entries.recv_many(&mut batch, BATCH) => received == 0,
            () = stopping.cancelled() => true,
        };
        if !is_last && batch.len() + self.entries.len() < BATCH {
            tokio::select! {
                () = self.state.is_batch.notified() => {}
                () = sleep(BATCH_DELAY) => {}
                () = stopping.cancelled() => {}
            }
        }
        while let Some(entry) =
            (batch.len() < BATCH).then(|| self.entries.try_recv().ok()).flatten()
        {
            batch.push(entry);
        }
        (batch, is_last)
    }

    /// Returns the number of entries that were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.state.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
impl<T> Batches<T> {
    /// Takes all entries.
    pub(crate) fn take(&mut self) -> Vec<T> {
        std::iter::from_fn(|| self.entries.try_recv().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_batch_is_taken_at_once_and_a_smaller_one_after_some_time() {
        let (queue, mut batches) = queue();
        let stopping = CancellationToken::new();
        let started = Instant::now();
        queue.push(0);
        let adding = async {
            // The receiver already waits for more.
            yield_now().await;
            (0..BATCH).for_each(|entry| _ = queue.push(entry));
        };
        let ((batch, is_last), ()) = tokio::join!(batches.next(&stopping), adding);
        assert_eq!((batch.len(), is_last, started.elapsed()), (BATCH, false, Duration::ZERO));

        batches.take();
        queue.push(1);
        assert_eq!(batches.next(&stopping).await, (vec![1], false));
        assert!(started.elapsed() >= BATCH_DELAY);
    }

    #[tokio::test(start_paused = true)]
    async fn a_receiver_that_keeps_up_loses_no_entry_of_a_long_burst() {
        let (queue, mut batches) = queue();
        let stopping = CancellationToken::new();
        let adding = async {
            for entry in 0..20 * MAX_QUEUED {
                queue.push(entry);
                if entry % 32 == 0 {
                    yield_now().await;
                }
            }
            stopping.cancel();
        };
        let receiving = async {
            let mut count = 0;
            loop {
                let (batch, is_last) = batches.next(&stopping).await;
                count += batch.len();
                if is_last && batch.is_empty() {
                    return count;
                }
            }
        };
        let (count, ()) = tokio::join!(receiving, adding);
        assert_eq!((count, batches.dropped()), (20 * MAX_QUEUED, 0));
    }

    #[test]
    fn entries_beyond_the_queue_are_dropped_and_counted() {
        let (queue, mut batches) = queue();
        let added = (0..MAX_QUEUED + 3).filter(|entry| queue.push(*entry)).count();
        assert_eq!((added, batches.dropped()), (MAX_QUEUED, 3));
        assert_eq!(batches.take().len(), MAX_QUEUED);
    }
}
