//! Memory of the host's queues. Plugins fill the queues, and the entries outlive the calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Budget;

/// Divisor that determines the part of the budget for all queues together: a quarter. The rest
/// remains for calls, even if the hub is unreachable for days and all queues are full.
const DIVISOR: usize = 4;

/// Memory that queues reserve for their entries. It counts against
/// [`EngineSettings::memory_bytes`](crate::EngineSettings::memory_bytes), of which all queues
/// together use at most a quarter. The default has no limit. Clones share one limit.
#[derive(Debug, Clone, Default)]
pub struct QueueMemory(Option<Arc<Share>>);

/// Share of the memory of all queues.
#[derive(Debug)]
struct Share {
    all: Arc<Queues>,
    used_bytes: AtomicUsize,
    max_bytes: usize,
}

/// Memory of all queues of an engine.
#[derive(Debug)]
struct Queues {
    budget: Arc<Budget>,
    used_bytes: AtomicUsize,
    max_bytes: usize,
}

/// Memory of an entry of a queue, released on drop.
#[derive(Debug, Default)]
pub struct QueuedMemory {
    of: QueueMemory,
    bytes: usize,
}

/// The memory of the queues, or of all calls and queues, is exhausted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {max_bytes} bytes of memory for waiting messages, reports and jobs are in use")]
pub struct NoQueueMemory {
    max_bytes: usize,
}

impl QueueMemory {
    pub(crate) fn new(budget: &Arc<Budget>) -> QueueMemory {
        let max_bytes = budget.limit_bytes() / DIVISOR;
        let used_bytes = AtomicUsize::new(0);
        let all = Arc::new(Queues { budget: Arc::clone(budget), used_bytes, max_bytes });
        QueueMemory(Some(Arc::new(Share { all, used_bytes: AtomicUsize::new(0), max_bytes })))
    }

    /// Returns a handle to the same memory for a queue that may use at most half of it, so that
    /// memory remains for the other queues.
    #[must_use]
    pub fn half(&self) -> QueueMemory {
        QueueMemory(self.0.as_ref().map(|share| {
            let (all, max_bytes) = (Arc::clone(&share.all), share.max_bytes / 2);
            Arc::new(Share { all, used_bytes: AtomicUsize::new(0), max_bytes })
        }))
    }

    /// Reserves the memory of an entry, in bytes.
    ///
    /// # Errors
    ///
    /// Returns an error if the memory is exhausted.
    pub fn reserve(&self, bytes: usize) -> Result<QueuedMemory, NoQueueMemory> {
        if let Some(share) = &self.0 {
            let no_memory = NoQueueMemory { max_bytes: share.max_bytes };
            let Share { all, used_bytes, max_bytes } = &**share;
            if !add(used_bytes, bytes, *max_bytes) {
                return Err(no_memory);
            }
            if !add(&all.used_bytes, bytes, all.max_bytes) {
                used_bytes.fetch_sub(bytes, Relaxed);
                return Err(no_memory);
            }
            if all.budget.grow(bytes).is_err() {
                used_bytes.fetch_sub(bytes, Relaxed);
                all.used_bytes.fetch_sub(bytes, Relaxed);
                return Err(no_memory);
            }
        }
        Ok(QueuedMemory { of: self.clone(), bytes })
    }

    /// Counts the memory of an entry that exists already, such as one of an earlier run of the
    /// host, even if that exceeds the limits.
    #[must_use]
    pub fn occupy(&self, bytes: usize) -> QueuedMemory {
        let mut memory = QueuedMemory { of: self.clone(), bytes: 0 };
        memory.resize(bytes);
        memory
    }
}

impl QueuedMemory {
    /// Changes the size of the entry in bytes, even if that exceeds the limits.
    pub fn resize(&mut self, bytes: usize) {
        if let Some(share) = &self.of.0 {
            let counters = [&share.used_bytes, &share.all.used_bytes, share.all.budget.used()];
            for counter in counters {
                counter.fetch_add(bytes, Relaxed);
                counter.fetch_sub(self.bytes, Relaxed);
            }
        }
        self.bytes = bytes;
    }
}

impl Drop for QueuedMemory {
    fn drop(&mut self) {
        self.resize(0);
    }
}

/// Adds to a counter, unless the sum exceeds `max`.
fn add(counter: &AtomicUsize, bytes: usize, max: usize) -> bool {
    let more = |used: usize| used.checked_add(bytes).filter(|total| *total <= max);
    counter.fetch_update(Relaxed, Relaxed, more).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_queues_together_use_at_most_a_quarter_of_the_budget() {
        let budget = Arc::new(Budget::new(800));
        let queues = QueueMemory::new(&budget);
        let messages = queues.half();
        let message = messages.reserve(100).unwrap();
        let error = messages.reserve(1).unwrap_err().to_string();
        let expected = "the 100 bytes of memory for waiting messages, reports and jobs are in use";
        assert_eq!(error, expected);
        let mut job = queues.reserve(100).unwrap();
        queues.reserve(1).unwrap_err();
        assert_eq!(budget.used_bytes(), 200);

        job.resize(40);
        drop(message);
        assert_eq!(budget.used_bytes(), 40);
        drop(queues.reserve(160).unwrap());
        drop(job);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn queues_leave_the_last_eighth_of_the_budget_to_new_calls() {
        let budget = Arc::new(Budget::new(800));
        let queues = QueueMemory::new(&budget);
        budget.grow(600).unwrap();
        queues.reserve(101).unwrap_err();
        let job = queues.reserve(100).unwrap();
        budget.grow(1).unwrap_err();
        budget.begin(100).unwrap();
        drop(job);
        assert_eq!(budget.used_bytes(), 700);
    }

    #[test]
    fn entries_of_an_earlier_run_are_counted_even_past_the_limit() {
        let budget = Arc::new(Budget::new(800));
        let queues = QueueMemory::new(&budget);
        let restored = queues.occupy(300);
        assert_eq!(budget.used_bytes(), 300);
        queues.reserve(1).unwrap_err();
        drop(restored);
        queues.reserve(200).unwrap();
        assert!(QueueMemory::default().half().reserve(usize::MAX).is_ok());
    }
}
