//! Release of the memory that a burst of calls leaves in the pool.
//!
//! wasmtime's pool keeps pages that instances have written to resident for the next
//! instances in their slots. It does so for as many slots as were ever used concurrently.
//! This makes calls cheap, but after a burst the memory is unused. To release the pages of
//! a component's initial memory, this module maps its machine code again: once the last
//! call in the old mapping has ended, the pool drops them. Pages that a guest added by
//! growing its memory stay resident, some KiB for each instance of a guest in Rust.

use super::linked::Linked;
use super::{Loaded, Plugin};
use crate::compile;
use crate::error::one_line;
use std::sync::Arc;

impl Plugin {
    /// Releases the memory that a burst of calls has left resident. Does nothing unless the
    /// peak of concurrent calls since the last check is less than a quarter of the burst's.
    /// Call it periodically; it blocks for milliseconds.
    pub fn give_back(&self) {
        let loaded = &self.loaded;
        if loaded.concurrency.is_over(loaded.running())
            && let Err(error) = loaded.remap()
        {
            // The plugin continues with its current mapping.
            tracing::warn!(
                plugin = self.name(),
                "memory of a burst not released: {}",
                one_line(&error)
            );
        }
    }
}

impl Loaded {
    fn remap(&self) -> wasmtime::Result<()> {
        let engine = &self.engine;
        let old = self.linked();
        let (cache, source) = (engine.cache.as_ref(), &self.source);
        let component = compile::load_again(&engine.wasmtime, cache, source, old.component())?;
        let new = Linked::new(engine, &component, &self.about)?;
        *self.linked.write() = Arc::new(new);
        Ok(())
    }
}
