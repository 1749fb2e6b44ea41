//! What bursts of calls leave behind, and how it is given back.
//!
//! wasmtime's pool keeps the memory that instances have written to for the next ones
//! in their places, for as many as there ever were at once. That is what makes calls
//! cheap, and after a burst it is memory which nobody needs. Those pages that a
//! component begins with, it gives back with the machine code that ran in them; so the
//! code is mapped anew, and once the last call in the old one has ended, they are gone.
//! The pages that a guest has added itself stay: some KiB for each instance of a guest
//! in Rust.

use crate::Engine;
use crate::compile;
use crate::error::one_line;
use crate::plugin::linked::Linked;
use crate::plugin::load::Loaded;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, Weak};

/// Fewer calls at once are no burst.
const LEAST: usize = 32;

/// Nor are they, if so large a part of them still comes at once.
const PART: usize = 4;

/// How many calls there were at once.
#[derive(Default)]
pub(crate) struct AtOnce {
    /// Since it was looked at last.
    lately: AtomicUsize,
    /// Since memory was given back last.
    most: AtomicUsize,
}

impl AtOnce {
    /// That so many run now.
    pub(crate) fn note(&self, running: usize) {
        // A look first: most calls are no more than there were before.
        if self.lately.load(Relaxed) < running {
            self.lately.fetch_max(running, Relaxed);
        }
    }

    /// Whether there was a burst that is over. Begins anew to look for the most of
    /// late, with those that run; and for the burst, if it is over.
    fn is_over(&self, running: usize) -> bool {
        let lately = self.lately.swap(running, Relaxed).max(running);
        let most = self.most.fetch_max(lately, Relaxed).max(lately);
        let over = most >= LEAST && most / PART > lately;
        if over {
            self.most.store(lately, Relaxed);
        }
        over
    }
}

impl Engine {
    /// Gives back the memory that bursts have left, of those plugins whose calls at
    /// once since it was called last were less than a quarter of what they once were.
    /// To be called once in a while; blocks for milliseconds.
    pub fn give_back(&self) {
        let plugins = self.shared.plugins.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for plugin in plugins.iter().filter_map(Weak::upgrade) {
            if plugin.at_once.is_over(plugin.running())
                && let Err(error) = plugin.map_anew()
            {
                // It goes on with what it has.
                tracing::warn!(plugin = plugin.name, "memory kept: {}", one_line(&error));
            }
        }
    }

    /// Bytes of instances that are gone, kept for the next, as the pool counts them:
    /// of those whose code is gone too, it no longer counts any.
    #[doc(hidden)]
    pub fn kept_bytes(&self) -> usize {
        let pool = self.shared.wasmtime.pooling_allocator_metrics();
        pool.map_or(0, |pool| pool.unused_memory_bytes_resident())
    }
}

impl Loaded {
    fn map_anew(&self) -> wasmtime::Result<()> {
        let engine = &self.engine;
        let old = self.linked();
        let (cache, source) = (engine.cache.as_ref(), &self.source);
        let component = compile::anew(&engine.wasmtime, cache, source, old.component())?;
        let new = Linked::new(engine, &component, self.exports, &self.capabilities, self.wasi)?;
        *self.linked.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_over_when_less_than_a_quarter_of_it_comes() {
        let at_once = AtOnce::default();
        at_once.note(100);
        assert!(!at_once.is_over(90), "it has just been");
        assert!(!at_once.is_over(40), "90 were running when it was looked at");
        assert!(!at_once.is_over(3), "40 were");
        assert!(at_once.is_over(3));
        assert!(!at_once.is_over(3), "it was over before");
    }

    #[test]
    fn a_steady_load_is_no_burst() {
        let at_once = AtOnce::default();
        for running in [64, 30, 64, 20, 40, 64] {
            at_once.note(running);
            assert!(!at_once.is_over(running / 2));
        }
    }

    #[test]
    fn a_few_calls_are_no_burst() {
        let at_once = AtOnce::default();
        at_once.note(LEAST - 1);
        assert!(!at_once.is_over(0));
        assert!(!at_once.is_over(0));
    }
}
