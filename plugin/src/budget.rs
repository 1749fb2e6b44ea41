//! Memory budget shared by all calls of an engine.
//!
//! A call reserves its initial memory with one atomic addition, reserves more only when it
//! grows, and releases everything with one subtraction when it ends. The last eighth of the
//! budget is reserved for new calls, so calls that grow without bound cannot block them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Fraction of the budget that only new calls can use: one eighth.
const NEW_CALLS_FRACTION: usize = 8;

/// Memory of all running calls, and its limit.
#[derive(Debug)]
pub(crate) struct Budget {
    used_bytes: AtomicUsize,
    limit_bytes: usize,
}

/// The budget is exhausted, which is not the fault of the call that finds it so.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the {limit_bytes} bytes of memory for all calls are in use")]
pub(crate) struct NoMemory {
    pub(crate) limit_bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit_bytes: usize) -> Budget {
        Budget { used_bytes: AtomicUsize::new(0), limit_bytes }
    }

    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Returns the bytes reserved by all calls.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Relaxed)
    }

    /// Reserves the initial memory of a call.
    pub(crate) fn begin(&self, bytes: usize) -> Result<(), NoMemory> {
        self.reserve(bytes, self.limit_bytes)
    }

    /// Reserves more memory for a running call.
    pub(crate) fn grow(&self, bytes: usize) -> Result<(), NoMemory> {
        self.reserve(bytes, self.limit_bytes - self.limit_bytes / NEW_CALLS_FRACTION)
    }

    /// Releases reserved memory.
    pub(crate) fn release(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Relaxed);
    }

    // `Relaxed` is enough because the counter guards no other data.
    fn reserve(&self, bytes: usize, max_bytes: usize) -> Result<(), NoMemory> {
        let more = |used: usize| used.checked_add(bytes).filter(|total| *total <= max_bytes);
        match self.used_bytes.fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(NoMemory { limit_bytes: self.limit_bytes }),
        }
    }
}

/// Host memory reserved for a call and released on drop.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn new(budget: &Arc<Budget>, bytes: usize) -> Result<Reservation, NoMemory> {
        budget.grow(bytes)?;
        Ok(Reservation { budget: Arc::clone(budget), bytes })
    }

    /// Reserves the memory of a compilation, which leaves the last part of the budget to
    /// calls even if it needs all of it.
    pub(crate) fn for_compilation(
        budget: &Arc<Budget>,
        bytes: usize,
    ) -> Result<Reservation, NoMemory> {
        let max_bytes = budget.limit_bytes - budget.limit_bytes / NEW_CALLS_FRACTION;
        Reservation::new(budget, bytes.min(max_bytes))
    }

    /// Releases all but `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let rest = self.bytes.saturating_sub(bytes);
        self.budget.release(rest);
        self.bytes -= rest;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_grow_leave_the_last_eighth_to_calls_that_begin() {
        let budget = Budget::new(800);
        budget.begin(300).unwrap();
        budget.grow(400).unwrap();

        assert!(budget.grow(1).is_err());
        budget.begin(100).unwrap();
        let error = budget.begin(1).unwrap_err().to_string();
        assert_eq!(error, "the 800 bytes of memory for all calls are in use");
    }

    #[test]
    fn what_is_refused_takes_nothing_and_what_is_dropped_is_free_again() {
        let budget = Arc::new(Budget::new(800));
        assert!(budget.begin(usize::MAX).is_err());
        assert_eq!(budget.used_bytes(), 0);

        let mut taken = Reservation::new(&budget, 600).unwrap();
        taken.shrink_to(50);
        taken.shrink_to(500);
        assert_eq!(budget.used_bytes(), 50);
        drop(taken);
        assert_eq!(budget.used_bytes(), 0);
    }
}
