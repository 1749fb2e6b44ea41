//! Memory limit of one call, checked by wasmtime at each growth.
//!
//! Growth beyond the limit ends the call. If the growth failed instead, the guest's allocator
//! would abort, and the abort would look like any other trap.

use crate::Limits;
use crate::budget::{Budget, BudgetExhausted};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use wasmtime::ResourceLimiter;

/// Size of a table element, in bytes.
const ELEMENT_BYTES: usize = size_of::<usize>();

/// Minimum linear memory of a large call, in bytes. Interpreters have more, and most compiled
/// guests have less.
const LARGE_BYTES: usize = 2 * 1024 * 1024;

/// Memory accounting of a plugin's calls.
#[derive(Debug)]
pub(crate) struct PluginMemory {
    /// Budget shared by all calls of the engine.
    pub(crate) budget: Arc<Budget>,
    /// Memory of a call other than linear memory and tables.
    pub(crate) fixed_bytes: usize,
    /// Memory that a call reserves at its start: the initial memory. Most calls reserve nothing
    /// more.
    pub(crate) initial_bytes: usize,
    /// Peak linear memory of the calls that have ended.
    pub(crate) peak_bytes: AtomicUsize,
}

/// Linear memory and tables of one call, with their limits.
#[derive(Debug)]
pub(crate) struct CallMemory {
    used_bytes: usize,
    limit_bytes: usize,
    table_elements: usize,
    /// Used part of the reserved bytes.
    charged_bytes: usize,
    /// Bytes reserved in the budget.
    reserved_bytes: usize,
    refusal: Option<MemoryRefusal>,
    plugin_memory: Arc<PluginMemory>,
}

/// Limit that a call exceeded.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MemoryRefusal {
    /// The limit of the plugin, or the maximum for one call in the budget.
    Limit { limit_bytes: usize },
    /// The budget of all calls, of which other calls use a part.
    Budget(BudgetExhausted),
}

/// A growth that exceeded a limit and ended the call.
#[derive(Debug, thiserror::Error)]
#[error("exceeded its limit of {limit} {what}")]
pub(crate) struct LimitExceeded {
    limit: usize,
    what: &'static str,
}

impl CallMemory {
    /// Reserves the initial memory of a call.
    pub(crate) fn begin(
        limits: &Limits,
        plugin_memory: &Arc<PluginMemory>,
    ) -> Result<CallMemory, BudgetExhausted> {
        plugin_memory.budget.begin(plugin_memory.initial_bytes)?;
        Ok(CallMemory {
            used_bytes: 0,
            limit_bytes: limits.memory_bytes,
            table_elements: limits.table_elements,
            charged_bytes: plugin_memory.fixed_bytes,
            reserved_bytes: plugin_memory.initial_bytes,
            refusal: None,
            plugin_memory: Arc::clone(plugin_memory),
        })
    }

    /// Returns the limit that ended the call, or `None` if none did.
    pub(crate) fn refusal(&self) -> Option<MemoryRefusal> {
        self.refusal
    }

    /// Returns `true` if the pages of the call must be released immediately after it.
    pub(crate) fn is_large(&self) -> bool {
        self.used_bytes >= LARGE_BYTES
    }

    fn charge(&mut self, bytes: usize) -> wasmtime::Result<()> {
        let charged = self.charged_bytes.saturating_add(bytes);
        if let Some(more) = charged.checked_sub(self.reserved_bytes).filter(|more| *more > 0) {
            let budget = &self.plugin_memory.budget;
            budget.grow(more).inspect_err(|exhausted| {
                // A call that exceeds the budget on its own would do so at every retry.
                let limit_bytes = budget.growth_bytes();
                self.refusal = Some(match charged > limit_bytes {
                    true => MemoryRefusal::Limit { limit_bytes },
                    false => MemoryRefusal::Budget(*exhausted),
                });
            })?;
            self.reserved_bytes = charged;
        }
        self.charged_bytes = charged;
        Ok(())
    }
}

/// Accounts for the call on drop, because its future can be dropped at any await point.
/// Memories never shrink, so the final size is also the peak.
impl Drop for CallMemory {
    fn drop(&mut self) {
        self.plugin_memory.peak_bytes.fetch_max(self.used_bytes, Relaxed);
        self.plugin_memory.budget.release(self.reserved_bytes);
    }
}

impl ResourceLimiter for CallMemory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        let total = self.used_bytes.saturating_add(more);
        if total > self.limit_bytes {
            self.refusal = Some(MemoryRefusal::Limit { limit_bytes: self.limit_bytes });
            return Err(LimitExceeded { limit: self.limit_bytes, what: "bytes of memory" }.into());
        }
        self.charge(more)?;
        self.used_bytes = total;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        let limit_bytes = self.limit_bytes;
        self.refusal.get_or_insert(MemoryRefusal::Limit { limit_bytes });
        Err(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > self.table_elements {
            let (limit, what) = (self.table_elements, "table elements");
            return Err(LimitExceeded { limit, what }.into());
        }
        self.charge(desired.saturating_sub(current).saturating_mul(ELEMENT_BYTES))?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plugin_memory(
        budget_bytes: usize,
        fixed_bytes: usize,
        initial_bytes: usize,
    ) -> Arc<PluginMemory> {
        let (budget, peak_bytes) = (Arc::new(Budget::new(budget_bytes)), AtomicUsize::new(0));
        Arc::new(PluginMemory { budget, fixed_bytes, initial_bytes, peak_bytes })
    }

    #[test]
    fn the_limit_applies_to_the_sum_of_all_memories() {
        let limits = Limits { memory_bytes: 100, ..Limits::default() };
        let mut memory = CallMemory::begin(&limits, &plugin_memory(usize::MAX, 0, 0)).unwrap();

        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(memory.memory_growing(0, 40, None).unwrap());
        assert!(memory.refusal().is_none());
        assert!(memory.memory_growing(40, 41, None).is_err());
        assert!(matches!(memory.refusal(), Some(MemoryRefusal::Limit { limit_bytes: 100 })));
    }

    #[test]
    fn a_call_reserves_its_initial_memory_and_then_only_the_growth_beyond_it() {
        let plugin_memory = plugin_memory(1000, 50, 200);
        let mut memory = CallMemory::begin(&Limits::default(), &plugin_memory).unwrap();
        assert_eq!(plugin_memory.budget.used_bytes(), 200);

        assert!(memory.memory_growing(0, 110, None).unwrap());
        assert!(memory.table_growing(0, 5, None).unwrap());
        assert_eq!(plugin_memory.budget.used_bytes(), 200);
        assert!(memory.memory_growing(110, 120, None).unwrap());
        assert!(memory.table_growing(5, 10, None).unwrap());
        assert_eq!(plugin_memory.budget.used_bytes(), 50 + 120 + 10 * ELEMENT_BYTES);

        drop(memory);
        assert_eq!(plugin_memory.budget.used_bytes(), 0);
    }

    #[test]
    fn growth_exhausts_the_budget_only_if_other_calls_use_a_part_of_it() {
        let plugin_memory = plugin_memory(800, 0, 0);
        let begin = || CallMemory::begin(&Limits::default(), &plugin_memory).unwrap();

        let mut alone = begin();
        assert!(alone.memory_growing(0, 700, None).unwrap());
        assert!(alone.memory_growing(700, 701, None).is_err());
        assert!(matches!(alone.refusal(), Some(MemoryRefusal::Limit { limit_bytes: 700 })));

        let mut beside = begin();
        assert!(beside.memory_growing(0, 1, None).is_err());
        assert!(matches!(beside.refusal(), Some(MemoryRefusal::Budget(_))));
    }
}
