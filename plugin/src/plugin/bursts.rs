//! Calls of a burst, and the release of the memory that a burst leaves in the pool.
//!
//! The calls for which the pool for steady load has no place run in the pool for bursts. Each
//! plugin is linked to that pool when it first needs it, and until most places of the other pool
//! are free again.
//!
//! wasmtime's pool keeps the pages that instances have touched resident for the next
//! instances in their slots. It does so for as many slots as were ever used concurrently.
//! This makes calls cheap, but after a burst the memory is unused. So this module replaces the
//! pool with a new one and links each plugin to it. The memory of the old pool is released once
//! its last call has ended.

use super::linked::{Linked, Placed};
use super::{Loaded, Plugin};
use crate::CallError;
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
    /// Returns the component with a place for a call.
    pub(super) fn placed(&self) -> Result<Placed, CallError> {
        let steady = self.linked();
        if let Some(placed) = Placed::take(&steady) {
            return Ok(placed);
        }
        let mut burst = self.burst.lock();
        if let Some(linked) = &*burst {
            return Ok(Placed::or_refused(Arc::clone(linked)));
        }
        let linked = self.linked_for_bursts(&steady).map_err(|error| {
            let reason = one_line(&error);
            CallError::NoInstance(format!("no pool for further calls: {reason}"))
        })?;
        let Some(linked) = linked else {
            if steady.pool.refuses() {
                return Ok(Placed::or_refused(steady));
            }
            let reason = format!("all {} instances are in use", steady.pool.places());
            return Err(CallError::NoInstance(reason));
        };
        *burst = Some(Arc::clone(&linked));
        Ok(Placed::or_refused(linked))
    }

    /// Links the component to the pool for bursts, if there is one.
    fn linked_for_bursts(&self, steady: &Linked) -> wasmtime::Result<Option<Arc<Linked>>> {
        let Some(pool) = self.engine.pools.burst()? else { return Ok(None) };
        let component = steady.component();
        Linked::new(&self.engine, pool, component, &self.source, &self.about)
            .map(|linked| Some(Arc::new(linked)))
    }

    fn release_unused(&self, burst_is_over: bool) -> wasmtime::Result<()> {
        let (old, pools) = (self.linked(), &self.engine.pools);
        if old.pool.is_mostly_free() {
            // Calls in progress keep the pool.
            *self.burst.lock() = None;
        }
        let is_current = || Engine::same(&old.pool.wasmtime, &pools.current().wasmtime);
        if !burst_is_over && is_current() {
            return Ok(());
        }
        if is_current() {
            pools.renew()?;
        }
        let pool = pools.current();
        let new = Linked::new(&self.engine, pool, old.component(), &self.source, &self.about)?;
        *self.linked.write() = Arc::new(new);
        Ok(())
    }
}
