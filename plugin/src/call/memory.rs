//! Limit of a call's memory, which wasmtime checks at each growth.
//!
//! Growth past the limit ends the call. An allocator that gets an error aborts anyway,
//! and then a lack of memory could not be told from any other trap.

use crate::Limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use wasmtime::ResourceLimiter;

/// The sum of a call's linear memories, and the most it may be.
#[derive(Debug)]
pub(crate) struct Memory {
    used_bytes: usize,
    limit_bytes: usize,
    table_elements: usize,
    exceeded: bool,
    /// The most memory of any call of this plugin that has ended.
    peak_bytes: Arc<AtomicUsize>,
}

/// A growth that ended the call.
#[derive(Debug, thiserror::Error)]
#[error("asked for more than its {limit} {what}")]
pub(crate) struct Exceeded {
    limit: usize,
    what: &'static str,
}

impl Memory {
    pub(crate) fn new(limits: &Limits, peak_bytes: &Arc<AtomicUsize>) -> Memory {
        Memory {
            used_bytes: 0,
            limit_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            exceeded: false,
            peak_bytes: Arc::clone(peak_bytes),
        }
    }

    /// Returns `true` if the call has asked for more than it may have.
    pub(crate) fn exceeded(&self) -> bool {
        self.exceeded
    }
}

/// Here, and not at the end of a call: a call may be dropped halfway. Memories never
/// shrink, so what a call has at its end is also the most it had.
impl Drop for Memory {
    fn drop(&mut self) {
        self.peak_bytes.fetch_max(self.used_bytes, Relaxed);
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.used_bytes.saturating_add(desired.saturating_sub(current));
        if total > self.limit_bytes {
            self.exceeded = true;
            return Err(Exceeded { limit: self.limit_bytes, what: "bytes of memory" }.into());
        }
        self.used_bytes = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.exceeded = true;
        Err(error)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.table_elements {
            let (limit, what) = (self.table_elements, "elements of a table");
            return Err(Exceeded { limit, what }.into());
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_for_the_sum_of_all_memories() {
        let limits = Limits { memory_bytes: 100, ..Limits::default() };
        let mut memory = Memory::new(&limits, &Arc::default());

        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(memory.memory_growing(0, 40, None).unwrap());
        assert!(!memory.exceeded());
        assert!(memory.memory_growing(40, 41, None).is_err());
        assert!(memory.exceeded());
    }
}
