//! Budget of memory for all calls of an engine together.
//!
//! A call takes what it has at its start with one atomic addition, takes more only when
//! it grows, and gives everything back with one subtraction when it ends. The last
//! eighth of the budget is for calls that begin: those that grow without end leave
//! room for the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The part of the budget, one in so many, that growing calls leave to beginning ones.
const FOR_BEGINNERS: usize = 8;

/// The memory of all calls that run now, and its limit.
#[derive(Debug)]
pub(crate) struct Budget {
    used_bytes: AtomicUsize,
    limit_bytes: usize,
}

/// A lack of memory that is no fault of the call which meets it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("all calls together may have {limit_bytes} bytes of memory, and no more are free")]
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

    /// Returns the bytes that calls have now.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes.load(Relaxed)
    }

    /// Takes the memory that a call begins with.
    pub(crate) fn begin(&self, bytes: usize) -> Result<(), NoMemory> {
        self.take(bytes, self.limit_bytes)
    }

    /// Takes more memory for a call that runs.
    pub(crate) fn grow(&self, bytes: usize) -> Result<(), NoMemory> {
        self.take(bytes, self.limit_bytes - self.limit_bytes / FOR_BEGINNERS)
    }

    /// Gives memory back that was taken before.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.used_bytes.fetch_sub(bytes, Relaxed);
    }

    // The counter guards nothing but itself, so its order among other memory accesses
    // does not matter.
    fn take(&self, bytes: usize, most_bytes: usize) -> Result<(), NoMemory> {
        let more = |used: usize| used.checked_add(bytes).filter(|total| *total <= most_bytes);
        match self.used_bytes.fetch_update(Relaxed, Relaxed, more) {
            Ok(_) => Ok(()),
            Err(_) => Err(NoMemory { limit_bytes: self.limit_bytes }),
        }
    }
}

/// Memory that the host holds for a call, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Loan {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Loan {
    pub(crate) fn new(budget: &Arc<Budget>, bytes: usize) -> Result<Loan, NoMemory> {
        budget.grow(bytes)?;
        Ok(Loan { budget: Arc::clone(budget), bytes })
    }

    /// Gives back all but this many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let rest = self.bytes.saturating_sub(bytes);
        self.budget.give_back(rest);
        self.bytes -= rest;
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
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
        assert_eq!(error, "all calls together may have 800 bytes of memory, and no more are free");
    }

    #[test]
    fn what_is_refused_takes_nothing_and_what_is_dropped_is_free_again() {
        let budget = Arc::new(Budget::new(800));
        assert!(budget.begin(usize::MAX).is_err());
        assert_eq!(budget.used_bytes(), 0);

        let mut taken = Loan::new(&budget, 600).unwrap();
        taken.shrink_to(50);
        taken.shrink_to(500);
        assert_eq!(budget.used_bytes(), 50);
        drop(taken);
        assert_eq!(budget.used_bytes(), 0);
    }
}
