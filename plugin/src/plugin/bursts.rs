//! Memory that bursts of calls leave behind, and its return to the system.
//!
//! wasmtime's pool keeps the memory that instances have written to for the next ones in
//! their slots, for as many as there ever were at once. That makes calls cheap, but
//! after a burst it is unused memory. The pages that a component begins with are
//! returned with the machine code that ran in them: the code is mapped again, and once
//! the last call in the old mapping has ended, they are gone. Pages that a guest has
//! added itself stay: some KiB for each instance of a guest in Rust.

use super::linked::Linked;
use super::{Loaded, Plugin};
use crate::compile;
use crate::error::one_line;
use std::sync::Arc;

impl Plugin {
    /// Returns the memory that a burst of calls has left to the system, if the calls at
    /// once since the last time were less than a quarter of the most there were. To be
    /// called periodically; blocks for milliseconds.
    pub fn give_back(&self) {
        let loaded = &self.loaded;
        if loaded.at_once.is_over(loaded.running())
            && let Err(error) = loaded.map_anew()
        {
            // It goes on with what it has.
            tracing::warn!(plugin = self.name(), "memory kept: {}", one_line(&error));
        }
    }
}

impl Loaded {
    fn map_anew(&self) -> wasmtime::Result<()> {
        let engine = &self.engine;
        let old = self.linked();
        let (cache, source) = (engine.cache.as_ref(), &self.source);
        let component = compile::anew(&engine.wasmtime, cache, source, old.component())?;
        let new = Linked::new(engine, &component, &self.about)?;
        *self.linked.write() = Arc::new(new);
        Ok(())
    }
}
