//! The engine: one a process, shared by all plugins.
//!
//! It owns the pool that instances come from, the compile cache, and the ticker
//! that interrupts busy guests. The settings below were measured against one
//! another: a call in a fresh instance costs a quarter of what it does with
//! wasmtime's defaults.

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
use std::path::PathBuf;
use std::sync::Arc;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Functions of the host run on the guest's stack, above what the guest itself
/// may use: parsing a deep patch, formatting a log line.
const HOST_STACK_BYTES: usize = 512 * KIB;

/// The functions, globals and resources of one call's instances, in the host's memory.
/// CPython's take 395 KiB, Go's 91, QuickJS's 55; the default of wasmtime is 1 MiB for each
/// core instance.
const INSTANCE_BYTES: usize = 512 * KIB;

/// The beginning of a memory that is kept for the next call: stack, data and first
/// allocations of a small guest.
const KEPT_BYTES: usize = 128 * KIB;

/// The memory that the host holds for one call beside its stack and instances:
/// arguments and results on their way, handles, streams, a line of the log.
const IN_TRANSIT_BYTES: usize = 256 * KIB;

/// The limits of the engine as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineSettings {
    /// Calls at once, over all plugins. Each is address space set aside, not
    /// memory in use, and about 30 ms of start-up for ten thousand.
    pub instances: u32,
    /// The largest `memory_bytes` of any plugin.
    pub memory_bytes: usize,
    /// The memory of all calls together: linear memories, tables, stacks, instances, and
    /// what the host holds for them. A call that finds too little left is busy, one that
    /// runs is out of memory. It is counted as if every call used all that it may touch.
    pub budget_bytes: usize,
    /// The stack of a guest, in bytes. Compiled guests need a
    /// few KiB, the interpreters of scripts some hundred.
    pub stack_bytes: usize,
    /// The directory of compiled components; by default in the user's cache
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

/// Loads plugins and runs them. Clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    pub(crate) parts: Arc<EngineParts>,
}

/// The parts of an engine, which its plugins keep alive.
pub(crate) struct EngineParts {
    pub(crate) wasmtime: wasmtime::Engine,
    pub(crate) ticker: Ticker,
    /// The default world. Each plugin is linked to a copy, with what it is lent
    /// beyond that.
    pub(crate) linker: Linker<CallState>,
    pub(crate) memory_bytes: usize,
    pub(crate) budget: Arc<Budget>,
    /// The memory of a call that is neither linear memory nor tables.
    pub(crate) call_bytes: usize,
    pub(crate) cache: Option<Cache>,
    pub(crate) compiler: Compiler,
}

impl Engine {
    /// Makes the engine: some milliseconds, mostly for the pool.
    pub fn new(settings: &EngineSettings) -> Result<Engine, EngineError> {
        let cache = Cache::open(settings.cache.as_deref())?;
        let refused = |error: wasmtime::Error| EngineError::Refused {
            instances: settings.instances,
            reason: one_line(&error),
        };
        // Roomy reservations spare the guest its bounds checks, but many small
        // machines have 39 bits of address space, too little for them.
        let engine = wasmtime::Engine::new(&config(settings, Room::Wide))
            .or_else(|error| {
                tracing::info!(reason = %one_line(&error), "instances made compact");
                wasmtime::Engine::new(&config(settings, Room::Compact))
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

    /// Compiles a component, or finds it compiled; its size and the time that it
    /// takes are held to the limits. Blocks.
    pub fn compile(&self, bytes: &[u8], limits: &Limits) -> Result<Compiled, LoadError> {
        component::check_size(bytes.len() as u64, limits)?;
        self.compile_binary(&self.parts.compiler.binary(bytes, limits)?, limits)
    }

    /// Compiles a component in binary form.
    pub(crate) fn compile_binary(
        &self,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Compiled, LoadError> {
        let EngineParts { wasmtime, compiler, cache, .. } = &*self.parts;
        let source = Source::of(bytes, limits);
        let component = compiler.component(wasmtime, cache.as_ref(), bytes, source, limits)?;
        Ok(Compiled { component, source })
    }

    /// The engine itself, for a benchmark that compares with it.
    #[doc(hidden)]
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.parts.wasmtime
    }

    /// Bytes of instances that are gone, kept for the next, as the pool counts them:
    /// of those whose code is gone too, it no longer counts any.
    #[doc(hidden)]
    pub fn kept_bytes(&self) -> usize {
        let pool = self.parts.wasmtime.pooling_allocator_metrics();
        pool.map_or(0, |pool| pool.unused_memory_bytes_resident())
    }

    /// Returns the memory of the calls that run now, as [`EngineSettings::budget_bytes`]
    /// counts it.
    pub fn memory_in_use(&self) -> usize {
        self.parts.budget.used_bytes()
    }

    /// Returns the number of loads so far that found their component compiled.
    pub fn cache_hits(&self) -> usize {
        self.parts.cache.as_ref().map_or(0, Cache::hits)
    }
}

/// The address space of an instance's memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// wasmtime's own 4 GiB, all that a guest can address.
    Wide,
    /// No more than it may use.
    Compact,
}

fn config(settings: &EngineSettings, room: Room) -> Config {
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .async_stack_zeroing(true)
        .max_wasm_stack(settings.stack_bytes)
        .async_stack_size(settings.stack_bytes + HOST_STACK_BYTES)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(settings)));
    if room == Room::Compact {
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
        // A component is often two or three core modules: the guest, the
        // adapter of its WASI, and the shim between them, each with a table.
        .total_core_instances(instances.saturating_mul(8))
        .total_tables(instances.saturating_mul(4))
        .max_core_instances_per_component(16)
        .max_memories_per_component(4)
        .max_tables_per_component(16)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_memory_size(settings.memory_bytes)
        // The scan of wasmtime 48 finds the pages that a guest has written to only if they
        // are present: one that is swapped out, or about to be moved, is not reset, and the
        // next call in the slot could read it (fixed in wasmtime 50.0.1). Without the scan,
        // all of the memory that is kept is written anew at the end of each call. The first
        // pages are those that a small guest writes to: writing them is cheaper than
        // returning them to the system and getting them again, and after a burst they are
        // returned with the code. Stacks and tables are not kept, because nothing would
        // return theirs.
        .pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(0)
        .async_stack_keep_resident(0)
        .decommit_batch_size(16);
    pool
}
