//! Wasm engine shared by all plugins of a process.
//!
//! The engine owns the pool of instances, the compile cache and the ticker that interrupts
//! busy guests. The settings below were benchmarked together: with them, a call in a fresh
//! instance takes a quarter of the time that it takes with wasmtime's defaults.

pub(crate) mod inspect;

use crate::budget::Budget;
use crate::call::state::CallState;
use crate::compile::cache::{Cache, Source};
use crate::compile::{Compiled, Compiler};
use crate::component;
use crate::error::one_line;
use crate::interfaces;
use crate::ticker::{IDLE_TICKS, Ticker};
use crate::{EngineError, Limits, LoadError};
use std::borrow::Cow;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Stack for host functions, in addition to the guest's. Host functions run on the guest's
/// stack; the deepest ones parse a patch or format a log line.
const HOST_STACK_BYTES: usize = 512 * KIB;

/// Memory for the functions, globals and resources of one call's instances. CPython needs
/// 395 KiB, Go 91 KiB and QuickJS 55 KiB; wasmtime's default is 1 MiB for each core
/// instance.
const INSTANCE_BYTES: usize = 512 * KIB;

/// Prefix of a linear memory that stays resident between calls. It covers the stack, data
/// and first allocations of a small guest.
const RESIDENT_BYTES: usize = 128 * KIB;

/// Host memory for one call in addition to its stack and instances: arguments and results
/// in transit, handles, streams and a log line.
const IN_TRANSIT_BYTES: usize = 256 * KIB;

/// Limits of the whole engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Maximum number of concurrent calls of all plugins. Each reserves address space, not
    /// memory; ten thousand add about 30 ms to the start-up time.
    pub instances: u32,
    /// Upper bound of every plugin's `memory_bytes`.
    pub memory_bytes: usize,
    /// Memory budget of all calls together, in bytes. It covers linear memories, tables,
    /// stacks, instances and the host's memory for them. A call that cannot start within
    /// the budget is busy; a running call that exceeds it is out of memory. Each call
    /// counts with all memory that it can touch.
    pub budget_bytes: usize,
    /// Stack size of a guest, in bytes. Compiled guests need a few KiB, script interpreters
    /// several hundred.
    pub stack_bytes: usize,
    /// Directory of compiled components; `None` for a directory in the user's cache
    /// directory.
    pub cache: Option<PathBuf>,
}

impl Default for EngineSettings {
    fn default() -> EngineSettings {
        EngineSettings {
            instances: 1024,
            memory_bytes: crate::Limits::default().memory_bytes,
            budget_bytes: 1024 * MIB,
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
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) ticker: Ticker,
    /// Linker of the default world. Each plugin extends a copy with its capabilities.
    pub(crate) linker: Linker<CallState>,
    pub(crate) memory_bytes: usize,
    pub(crate) budget: Arc<Budget>,
    /// Memory of a call other than linear memory and tables.
    pub(crate) call_bytes: usize,
    pub(crate) cache: Option<Cache>,
    pub(crate) compiler: Compiler,
}

impl Engine {
    /// Creates the engine. This takes some milliseconds, mostly for the pool.
    pub fn new(settings: &EngineSettings) -> Result<Engine, EngineError> {
        let cache = Cache::open(settings.cache.as_deref())?;
        let refused = |error: wasmtime::Error| EngineError::Refused {
            instances: settings.instances,
            reason: one_line(&error),
        };
        // Large reservations make bounds checks unnecessary, but many small machines have
        // 39 bits of address space, too few for large reservations.
        let engine = wasmtime::Engine::new(&config(settings, AddressSpace::Full))
            .or_else(|error| {
                tracing::info!(reason = %one_line(&error), "fell back to compact address space");
                wasmtime::Engine::new(&config(settings, AddressSpace::Compact))
            })
            .map_err(refused)?;

        let mut linker = Linker::new(&engine);
        interfaces::add_to_linker(&mut linker).map_err(refused)?;

        let ticked = engine.clone();
        let ticker = Ticker::start(move || ticked.increment_epoch(), IDLE_TICKS)
            .map_err(EngineError::Ticker)?;
        Ok(Engine {
            parts: Arc::new(EngineParts {
                wasmtime: engine,
                ticker,
                linker,
                memory_bytes: settings.memory_bytes,
                budget: Arc::new(Budget::new(settings.budget_bytes)),
                call_bytes: settings.stack_bytes + INSTANCE_BYTES + IN_TRANSIT_BYTES,
                cache,
                compiler: Compiler::default(),
            }),
        })
    }

    /// Compiles a component, or returns it from the cache. Blocks. Enforces the limits on
    /// its size and on the compile time.
    pub fn compile(&self, bytes: &[u8], limits: &Limits) -> Result<Compiled, LoadError> {
        component::check_size(bytes.len() as u64, limits)?;
        self.compile_binary(&self.binary(bytes, limits)?, limits)
    }

    /// Returns the component in binary form, converting it if necessary.
    pub(crate) fn binary<'a>(
        &self,
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<Cow<'a, [u8]>, LoadError> {
        self.parts.compiler.binary(bytes, limits, &self.parts.budget)
    }

    /// Compiles a component in binary form.
    pub(crate) fn compile_binary(
        &self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Compiled, LoadError> {
        let EngineParts { wasmtime, compiler, cache, budget, .. } = &*self.parts;
        let source = Source::of(bytes, limits);
        let (component, in_use) =
            compiler.component(wasmtime, cache.as_ref(), bytes, source, limits, budget)?;
        Ok(Compiled { component, source, in_use })
    }

    /// Returns the wasmtime engine, for benchmarks that use it directly.
    #[doc(hidden)]
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.parts.wasmtime
    }

    /// Returns the resident bytes of unused instances, as counted by the pool. The pool
    /// stops counting the instances of a component once its code is dropped.
    #[doc(hidden)]
    pub fn idle_resident_bytes(&self) -> usize {
        let pool = self.parts.wasmtime.pooling_allocator_metrics();
        pool.map_or(0, |pool| pool.unused_memory_bytes_resident())
    }

    /// Returns the memory of the running calls, as counted against
    /// [`EngineSettings::budget_bytes`].
    pub fn memory_in_use(&self) -> usize {
        self.parts.budget.used_bytes()
    }

    /// Removes compiled components from the cache: all but those of plugins that are loaded,
    /// by this process or another one, and `max_unused` others, the newest. Returns the
    /// number of removed files. Blocks.
    pub fn trim_cache(&self, max_unused: usize) -> io::Result<usize> {
        self.parts.cache.as_ref().map_or(Ok(0), |cache| cache.limit_unused(max_unused))
    }

    /// Returns the number of loads that found the compiled component in the cache.
    pub fn cache_hits(&self) -> usize {
        self.parts.cache.as_ref().map_or(0, Cache::hits)
    }
}

/// Address space reserved for a linear memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AddressSpace {
    /// 4 GiB, which is all that a guest can address and wasmtime's default.
    Full,
    /// The engine's `memory_bytes`.
    Compact,
}

fn config(settings: &EngineSettings, space: AddressSpace) -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .async_stack_zeroing(true)
        .max_wasm_stack(settings.stack_bytes)
        .async_stack_size(settings.stack_bytes + HOST_STACK_BYTES)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings)));
    if space == AddressSpace::Compact {
        config.memory_reservation(settings.memory_bytes as u64).memory_guard_size(64 * KIB as u64);
    }
    config
}

fn pool(settings: &EngineSettings) -> PoolingAllocationConfig {
    let instances = settings.instances;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_memories(instances)
        // A component often has two or three core modules, each with a table: the
        // guest, its WASI adapter, and a shim between them.
        .total_core_instances(instances.saturating_mul(8))
        .total_tables(instances.saturating_mul(4))
        .max_core_instances_per_component(16)
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_memory_size(settings.memory_bytes)
        // The page scan of wasmtime 48 misses pages that are swapped out or being migrated.
        // It does not reset them, so the next call in the slot could read them (fixed in
        // wasmtime 50.0.1). Without the scan, wasmtime clears the whole resident prefix
        // after each call. For the pages that a small guest writes to, this is cheaper
        // than unmapping and faulting them in again; after a burst they are released
        // together with the code. Stacks and tables are not kept resident because nothing
        // would release them.
        .pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(RESIDENT_BYTES)
        .table_keep_resident(0)
        .async_stack_keep_resident(0)
        .decommit_batch_size(16);
    pool
}
