//! Release of the memory that a burst of calls leaves in the pool.
//!
//! wasmtime's pool keeps the pages that instances have touched resident for the next
//! instances in their slots. It does so for as many slots as were ever used concurrently.
//! This makes calls cheap, but after a burst the memory is unused. So this module replaces the
//! pool with a new one and links each plugin to it. The memory of the old pool is released once
//! its last call has ended.

use super::linked::Linked;
use super::{Loaded, Plugin};
use crate::compile;
use crate::error::one_line;
use std::sync::Arc;
use wasmtime::Engine;

impl Plugin {
    /// Releases the memory that a burst of calls has left resident. Does nothing unless the
    /// peak of concurrent calls since the last check is less than a quarter of the burst's
    /// peak, or another plugin has replaced the pool. Call it periodically for all plugins of an
    /// engine; it blocks for milliseconds.
    pub fn release_unused(&self) {
        let loaded = &self.loaded;
        let burst_is_over = loaded.burst_detector.has_ended(loaded.running());
        if let Err(error) = loaded.release_unused(burst_is_over) {
            // The plugin continues in its current pool.
            tracing::warn!(
                plugin = self.name(),
                "memory of a burst not released: {}",
                one_line(&error)
            );
        }
    }
}

impl Loaded {
    fn release_unused(&self, burst_is_over: bool) -> wasmtime::Result<()> {
        let (old, pools) = (self.linked(), &self.engine.pools);
        let is_current = || Engine::same(old.component().engine(), &pools.current().wasmtime);
        if !burst_is_over && is_current() {
            return Ok(());
        }
        if is_current() {
            pools.renew()?;
        }
        // If the pool is too large to be replaced, this releases only the linear memories: the
        // pool drops those of a component whose machine code was dropped.
        let (wasmtime, cache) = (&pools.current().wasmtime, self.engine.cache.as_ref());
        let component = compile::load_again(wasmtime, cache, &self.source, old.component())?;
        let new = Linked::new(&self.engine, &component, &self.source, &self.about)?;
        *self.linked.write() = Arc::new(new);
        Ok(())
    }
}
