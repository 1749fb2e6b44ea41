//! Memory budget shared by all calls of an engine, and by the host's queues.
//!
//! A call reserves its initial memory with one atomic addition. It reserves more when it grows,
//! and releases everything with one subtraction when it ends. The last eighth of the budget is
//! reserved for new calls, so that growing calls cannot block them.

pub(crate) mod queues;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Divisor that determines the part of the budget for new calls only: one eighth.
const NEW_CALLS_DIVISOR: usize = 8;

/// Reserved memory, and its limit.
#[derive(Debug)]
pub(crate) struct Budget {
    used_bytes: AtomicUsize,
    limit_bytes: usize,
}

/// A reservation that does not fit into the budget.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the {limit_bytes} bytes of memory for all calls are in use")]
pub(crate) struct BudgetExhausted {
    pub(crate) limit_bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit_bytes: usize) -> Budget {
        Budget { used_bytes: AtomicUsize::new(0), limit_bytes }
    }

    pub(crate) fn limit_bytes(&self) -> usize {
        self.limit_bytes
    }

    /// Returns the part of the budget that growing calls and compilations can use.
    pub(crate) fn growth_bytes(&self) -> usize {
        self.limit_bytes - self.limit_bytes / NEW_CALLS_DIVISOR
    }

    /// Returns the reserved bytes.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Relaxed)
    }

    /// Returns the counter of the reserved bytes.
    fn used(&self) -> &AtomicUsize {
        &self.used_bytes
    }

    /// Reserves the initial memory of a call.
    pub(crate) fn begin(&self, bytes: usize) -> Result<(), BudgetExhausted> {
        self.reserve(bytes, self.limit_bytes)
    }

    /// Reserves more memory for a running call.
    pub(crate) fn grow(&self, bytes: usize) -> Result<(), BudgetExhausted> {
        self.reserve(bytes, self.growth_bytes())
    }

    /// Releases reserved memory.
    pub(crate) fn release(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Relaxed);
    }

    // `Relaxed` is enough because the counter guards no other data.
    fn reserve(&self, bytes: usize, max_bytes: usize) -> Result<(), BudgetExhausted> {
        let more = |used: usize| used.checked_add(bytes).filter(|total| *total <= max_bytes);
        match self.used_bytes.fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(BudgetExhausted { limit_bytes: self.limit_bytes }),
        }
    }
}

/// Host memory that is reserved until the value is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn new(budget: &Arc<Budget>, bytes: usize) -> Result<Reservation, BudgetExhausted> {
        budget.grow(bytes)?;
        Ok(Reservation { budget: Arc::clone(budget), bytes })
    }

    /// Reserves the memory of a compilation, but at most the part of the budget that is not
    /// reserved for new calls.
    #[cfg(feature = "compiler")]
    pub(crate) fn for_compilation(
        budget: &Arc<Budget>,
        bytes: usize,
    ) -> Result<Reservation, BudgetExhausted> {
        Reservation::new(budget, bytes.min(budget.growth_bytes()))
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
    fn growing_calls_leave_the_last_eighth_to_new_calls() {
        let budget = Budget::new(800);
        budget.begin(300).unwrap();
        budget.grow(400).unwrap();

        assert!(budget.grow(1).is_err());
        budget.begin(100).unwrap();
        let error = budget.begin(1).unwrap_err().to_string();
        assert_eq!(error, "the 800 bytes of memory for all calls are in use");
    }

    #[test]
    fn a_refused_reservation_uses_nothing_and_a_dropped_one_is_released() {
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
