//! Wasm engine shared by all plugins of a process.
//!
//! The engine owns the pool of instances, the compile cache and the ticker that interrupts
//! busy guests. The settings below were benchmarked together: with them, a call in a fresh
//! instance takes a quarter of the time that it takes with wasmtime's defaults.

#[cfg(feature = "compiler")]
pub(crate) mod compile;
#[cfg(feature = "compiler")]
pub(crate) mod freed;
pub(crate) mod inspect;
pub(crate) mod pools;
pub(crate) mod ready;
mod wasmtime_settings;

use crate::EngineError;
use crate::budget::Budget;
use crate::budget::queues::QueueMemory;
use crate::compile::cache::Cache;
#[cfg(feature = "compiler")]
use crate::compile::compiler::Compiler;
use crate::error::one_line;
use crate::ticker::{IDLE_TICKS, Ticker};
use pools::Pools;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use wasmtime_settings::INSTANCE_BYTES;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Host memory for one call in addition to its stack and instances: arguments and results
/// in transit, handles, streams and a log line.
const CALL_OVERHEAD_BYTES: usize = 256 * KIB;

/// Maximum number of tables of one module, and the number of memories, tables and stacks in a batch
/// that wasmtime returns to the system at once.
const BATCH: usize = 16;

/// Limits of the whole engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Maximum number of concurrent calls of all plugins. An instance reserves address space,
    /// not memory. Those of more than 128 calls are created when so many calls run at once,
    /// which takes some 20 ms for ten thousand. Instances for which
    /// [`EngineSettings::memory_bytes`] is too small are not created.
    pub instances: u32,
    /// Upper bound of every plugin's [`Limits::memory_bytes`](crate::Limits::memory_bytes), in
    /// bytes.
    pub max_call_memory_bytes: usize,
    /// Memory budget of all calls, compilations and queues together, in bytes. The memory of a
    /// call consists of its linear memories, tables, stack and instances, and of the host's
    /// memory for them. All memory that the call can touch counts. A call that cannot start
    /// within the budget is refused as busy; a running call that exceeds it is out of memory.
    pub memory_bytes: usize,
    /// Stack size of a guest, in bytes. Compiled guests need a few KiB, script interpreters
    /// several hundred KiB.
    pub stack_bytes: usize,
    /// Directory of compiled components; `None` for a directory in the user's cache
    /// directory.
    pub cache: Option<PathBuf>,
}

impl Default for EngineSettings {
    fn default() -> EngineSettings {
        EngineSettings {
            instances: 1024,
            max_call_memory_bytes: crate::Limits::default().memory_bytes,
            memory_bytes: 1024 * MIB,
            stack_bytes: 512 * KIB,
            cache: None,
        }
    }
}

/// Loads and runs plugins. Clones share one engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) parts: Arc<EngineParts>,
}

/// Shared parts of an engine, which its plugins keep alive.
pub(crate) struct EngineParts {
    pub(crate) pools: Arc<Pools>,
    pub(crate) ticker: Ticker,
    pub(crate) max_call_memory_bytes: usize,
    pub(crate) budget: Arc<Budget>,
    queue_memory: QueueMemory,
    /// Memory of a call other than linear memory and tables.
    pub(crate) call_bytes: usize,
    pub(crate) cache: Option<Cache>,
    #[cfg(feature = "compiler")]
    pub(crate) compiler: Compiler,
}

impl Engine {
    /// Creates the engine. This takes some milliseconds, mostly for the pool.
    ///
    /// # Errors
    ///
    /// Returns an error if the cache directory is unusable, if the machine has too little
    /// address space for the instances, or if the ticker's thread does not start.
    pub fn new(settings: &EngineSettings) -> Result<Engine, EngineError> {
        let cache = Cache::open(settings.cache.as_deref())?;
        let settings =
            &EngineSettings { instances: usable_instances(settings), ..settings.clone() };
        let refused = |error: wasmtime::Error| EngineError::Refused {
            instances: settings.instances,
            reason: one_line(&error),
        };
        let pools = Arc::new(Pools::new(settings).map_err(refused)?);
        let ticked = Arc::clone(&pools);
        let ticker =
            Ticker::start(move || ticked.tick(), IDLE_TICKS).map_err(EngineError::Ticker)?;
        let budget = Arc::new(Budget::new(settings.memory_bytes));
        Ok(Engine {
            parts: Arc::new(EngineParts {
                pools,
                ticker,
                max_call_memory_bytes: settings.max_call_memory_bytes,
                queue_memory: QueueMemory::new(&budget),
                budget,
                call_bytes: call_bytes(settings),
                cache,
                #[cfg(feature = "compiler")]
                compiler: Compiler::default(),
            }),
        })
    }

    /// Returns the wasmtime engine, for benchmarks that use it directly.
    #[doc(hidden)]
    pub fn wasmtime(&self) -> wasmtime::Engine {
        self.parts.pools.current().wasmtime.clone()
    }

    /// Returns the resident bytes of unused instances, as counted by the pool. The pool
    /// stops counting the instances of a component once its code is dropped.
    #[doc(hidden)]
    pub fn idle_resident_bytes(&self) -> usize {
        self.parts.pools.idle_resident_bytes()
    }

    /// Returns the memory for the host's queues, which counts against
    /// [`EngineSettings::memory_bytes`].
    #[must_use]
    pub fn queue_memory(&self) -> QueueMemory {
        self.parts.queue_memory.clone()
    }

    /// Returns the memory of the running calls, the compilations and the queues in bytes, as
    /// counted against [`EngineSettings::memory_bytes`].
    pub fn memory_in_use(&self) -> usize {
        self.parts.budget.used_bytes()
    }

    /// Removes compiled components from the cache. Keeps those of plugins that this or another
    /// process has loaded, and the `max_unused` most recently used others. Returns the number
    /// of removed files. Blocks.
    pub fn trim_cache(&self, max_unused: usize) -> io::Result<usize> {
        self.parts.cache.as_ref().map_or(Ok(0), |cache| cache.limit_unused(max_unused))
    }

    /// Returns the number of loads that found the compiled component in the cache.
    pub fn cache_hits(&self) -> usize {
        self.parts.cache.as_ref().map_or(0, Cache::hits)
    }
}

/// Returns the memory of a call other than linear memory and tables, in bytes.
fn call_bytes(settings: &EngineSettings) -> usize {
    settings.stack_bytes + INSTANCE_BYTES + CALL_OVERHEAD_BYTES
}

/// Returns the number of instances that calls can use within the memory budget, at least one.
///
/// Each instance costs a system call at the start. On a machine with 1 GiB of memory, a quarter of
/// which is the default budget, this is 204 instead of 1,408 for ten plugins.
fn usable_instances(settings: &EngineSettings) -> u32 {
    let affordable = settings.memory_bytes / call_bytes(settings);
    settings.instances.min(u32::try_from(affordable).unwrap_or(u32::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_created_only_as_far_as_the_memory_budget_suffices() {
        let instances = |memory_bytes| {
            usable_instances(&EngineSettings { memory_bytes, ..EngineSettings::default() })
        };
        assert_eq!([0, 256 * MIB, 2048 * MIB].map(instances), [1, 204, 1024]);
    }
}
