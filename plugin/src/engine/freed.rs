//! Release of the pages of large calls.
//!
//! wasmtime collects the memories, tables and stacks of ended calls in queues, one for each
//! processor, and returns their pages to the system when a queue has [`BATCH`] of them. Batches
//! keep short calls cheap: a system call for each memory would take more time than the guest.
//! But a queue can hold several large memories, which the budget no longer counts, and wasmtime
//! has no function that empties a queue. So after a large call, [`QueueFlusher`] fills the queue
//! of its thread with the tables of a dummy instance. docs/decisions/freed-pages.md has
//! the figures.

use crate::engine::BATCH;
use wasmtime::{Engine, Instance, Module, Store};

/// Number of elements of a dummy table. The table is larger than the part of a table that stays
/// resident, so that its pages are queued.
const TABLE_ELEMENTS: usize = 2048;

/// Flusher of the queues of freed pages of one pool.
pub(crate) struct QueueFlusher(Module);

impl QueueFlusher {
    pub(super) fn new(engine: &Engine) -> wasmtime::Result<QueueFlusher> {
        let tables = format!("(table {TABLE_ELEMENTS} funcref)").repeat(BATCH);
        let module = wat::parse_str(format!("(module {tables})")).map_err(wasmtime::Error::new)?;
        Ok(QueueFlusher(Module::new(engine, module)?))
    }

    /// Returns to the system all pages that this thread has freed. Must be called by the thread
    /// that has dropped the call's store.
    pub(super) fn flush(&self) {
        let mut store = Store::new(self.0.engine(), ());
        // Fails only if the pool has no free table. wasmtime has then already emptied the queues
        // in search of a free one.
        let _ = Instance::new(&mut store, &self.0, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EngineSettings;
    use crate::engine::pools::Pools;

    #[test]
    fn flushing_releases_the_pages_of_a_dropped_store() {
        let settings = EngineSettings { instances: 4, ..EngineSettings::default() };
        let pool = Pools::new(&settings).unwrap().current();
        let bytes = wat::parse_str("(module (memory 100))").unwrap();
        let module = Module::new(&pool.wasmtime, bytes).unwrap();
        let mut store = Store::new(&pool.wasmtime, ());
        Instance::new(&mut store, &module, &[]).unwrap();
        drop(store);
        let released = || pool.wasmtime.pooling_allocator_metrics().unwrap().unused_warm_memories();
        assert_eq!(released(), 0, "the memory is queued");

        pool.release_freed_pages();
        assert_eq!(released(), 1);
    }
}
