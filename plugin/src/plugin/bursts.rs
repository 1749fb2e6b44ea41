//! Memory that bursts of calls leave behind, and its return to the system.
//!
//! wasmtime's pool keeps the memory that instances have written to for the next ones
//! in their places, for as many as there ever were at once. That is what makes calls
//! cheap, and after a burst it is memory which nobody needs. Those pages that a
//! component begins with, it gives back with the machine code that ran in them; so the
//! code is mapped anew, and once the last call in the old one has ended, they are gone.
//! The pages that a guest has added itself stay: some KiB for each instance of a guest
//! in Rust.

use super::linked::Linked;
use super::{Loaded, Plugin};
use crate::compile;
use crate::error::one_line;
use std::sync::Arc;

impl Plugin {
    /// Gives back the memory that a burst of calls has left, if the calls at once
    /// since the last time were less than a quarter of the most there were. To be
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
