//! Pools of instances: the current one, and earlier ones with calls in progress.
//!
//! wasmtime keeps the pages that instances have touched resident for the next instances in
//! their slots, and has no function that releases them. [`Pools::renew`] replaces the whole pool
//! instead. The memory of the old pool is released when its last plugin has moved to the new
//! one and its last call has ended.

use crate::call::state::CallState;
use crate::component::rejection::SUPPORTED;
use crate::engine::EngineSettings;
use crate::engine::freed::{BATCH, QueueFlusher};
use crate::error::one_line;
use crate::interfaces;
use parking_lot::{Mutex, RwLock};
use std::sync::{Arc, OnceLock};
use wasmparser::WasmFeatures;
use wasmtime::component::Linker;
use wasmtime::{Config, Enabled, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig};

const KIB: usize = 1024;

/// Stack for host functions, in addition to the guest's. Host functions run on the guest's
/// stack; the deepest ones parse a patch or format a log line.
const HOST_STACK_BYTES: usize = 512 * KIB;

/// Memory for the functions, globals and resources of one call's instances. CPython needs
/// 395 KiB, Go 91 KiB and QuickJS 55 KiB; wasmtime's default is 1 MiB for each core
/// instance.
pub(super) const INSTANCE_BYTES: usize = 512 * KIB;

/// Prefix of a linear memory that stays resident between calls. It covers the stack and data of
/// a small guest, and the first 64 KiB of its heap, whose last page an allocator writes to.
const RESIDENT_BYTES: usize = 192 * KIB;

/// Parts of a stack and of a table that stay resident between calls. They cover the pages that
/// a small guest touches.
const RESIDENT_STACK_BYTES: usize = 16 * KIB;
const RESIDENT_TABLE_BYTES: usize = 8 * KIB;

/// Maximum number of instances of a pool that is replaced after a burst. Two larger pools at
/// the same time can exceed the kernel's limit on mappings (`vm.max_map_count`). Larger pools
/// are not replaced, and therefore keep no stacks and tables resident.
const MAX_RENEWED_INSTANCES: u32 = 4096;

/// Pool of instances with its wasmtime engine.
pub(crate) struct Pool {
    pub(crate) wasmtime: wasmtime::Engine,
    /// Linker of the default world. Each plugin extends a copy with its capabilities.
    pub(crate) linker: Linker<CallState>,
    /// Created after the first large call; `None` if that failed.
    flusher: OnceLock<Option<QueueFlusher>>,
}

/// Current pool and the earlier ones that are still in use.
pub(crate) struct Pools {
    settings: EngineSettings,
    space: AddressSpace,
    current: RwLock<Arc<Pool>>,
    /// Engines of all pools in use.
    engines: Mutex<Vec<EngineWeak>>,
}

/// Address space reserved for a linear memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AddressSpace {
    /// 4 GiB, which is all that a guest can address and wasmtime's default.
    Full,
    /// The limit [`EngineSettings::max_call_memory_bytes`], for machines with a small address
    /// space.
    Compact,
}

impl Pools {
    pub(super) fn new(settings: &EngineSettings) -> wasmtime::Result<Pools> {
        // Large reservations make bounds checks unnecessary, but many small machines have
        // 39 bits of address space, too few for large reservations.
        let (pool, space) = match Pool::new(settings, AddressSpace::Full) {
            Ok(pool) => (pool, AddressSpace::Full),
            Err(error) => {
                tracing::info!(reason = %one_line(&error), "fell back to compact address space");
                (Pool::new(settings, AddressSpace::Compact)?, AddressSpace::Compact)
            }
        };
        let engines = Mutex::new(vec![pool.wasmtime.weak()]);
        Ok(Pools {
            settings: settings.clone(),
            space,
            current: RwLock::new(Arc::new(pool)),
            engines,
        })
    }

    /// Returns the current pool.
    pub(crate) fn current(&self) -> Arc<Pool> {
        Arc::clone(&self.current.read())
    }

    /// Replaces the current pool by a new one, which takes milliseconds. Does nothing if the
    /// pool has more than [`MAX_RENEWED_INSTANCES`].
    pub(crate) fn renew(&self) -> wasmtime::Result<()> {
        if self.settings.instances > MAX_RENEWED_INSTANCES {
            return Ok(());
        }
        let pool = Pool::new(&self.settings, self.space)?;
        self.engines.lock().push(pool.wasmtime.weak());
        *self.current.write() = Arc::new(pool);
        Ok(())
    }

    /// Advances the epoch of all pools in use.
    pub(super) fn tick(&self) {
        self.for_each_engine(|engine| engine.increment_epoch());
    }

    /// Returns the resident bytes of unused instances in all pools in use.
    pub(super) fn idle_resident_bytes(&self) -> usize {
        let mut bytes = 0;
        self.for_each_engine(|engine| {
            let pool = engine.pooling_allocator_metrics();
            bytes += pool.map_or(0, |pool| pool.unused_memory_bytes_resident());
        });
        bytes
    }

    /// Calls `act` with the engine of each pool in use.
    fn for_each_engine(&self, mut act: impl FnMut(&wasmtime::Engine)) {
        self.engines.lock().retain(|engine| engine.upgrade().inspect(&mut act).is_some());
    }
}

impl Pool {
    fn new(settings: &EngineSettings, space: AddressSpace) -> wasmtime::Result<Pool> {
        let wasmtime = wasmtime::Engine::new(&wasmtime_config(settings, space))?;
        let mut linker = Linker::new(&wasmtime);
        interfaces::add_to_linker(&mut linker)?;
        Ok(Pool { wasmtime, linker, flusher: OnceLock::new() })
    }

    /// Returns the freed pages of a large call to the system. Must be called by the thread that has
    /// dropped the call's store.
    pub(crate) fn release_freed_pages(&self) {
        let flusher = self.flusher.get_or_init(|| {
            let created = QueueFlusher::new(&self.wasmtime);
            created
                .inspect_err(|error| {
                    tracing::warn!("memory of large calls is released late: {}", one_line(error));
                })
                .ok()
        });
        if let Some(flusher) = flusher {
            flusher.flush();
        }
    }
}

fn wasmtime_config(settings: &EngineSettings, space: AddressSpace) -> Config {
    let mut config = Config::new();
    config
        .wasm_features(SUPPORTED, true)
        .wasm_features(WasmFeatures::all().difference(SUPPORTED), false)
        .concurrency_support(false)
        .epoch_interruption(true)
        .async_stack_zeroing(true)
        .max_wasm_stack(settings.stack_bytes)
        .async_stack_size(settings.stack_bytes + HOST_STACK_BYTES)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool_config(settings)));
    if space == AddressSpace::Compact {
        config
            .memory_reservation(settings.max_call_memory_bytes as u64)
            .memory_guard_size(64 * KIB as u64);
    }
    config
}

fn pool_config(settings: &EngineSettings) -> PoolingAllocationConfig {
    let instances = settings.instances;
    let is_renewable = instances <= MAX_RENEWED_INSTANCES;
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
        .max_tables_per_module(BATCH as u32)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_component_instance_size(INSTANCE_BYTES)
        .max_memory_size(settings.max_call_memory_bytes)
        // The page scan of wasmtime 48 misses pages that are swapped out or being migrated.
        // It does not reset them, so the next call in the slot could read them (fixed in
        // wasmtime 50.0.1). Without the scan, wasmtime clears the whole resident prefix
        // after each call. For the pages that a small guest touches, this is cheaper than
        // unmapping and faulting them in again; after a burst they are released with the
        // pool.
        .pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(RESIDENT_BYTES)
        .table_keep_resident(if is_renewable { RESIDENT_TABLE_BYTES } else { 0 })
        .async_stack_keep_resident(if is_renewable { RESIDENT_STACK_BYTES } else { 0 })
        .decommit_batch_size(BATCH);
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_dropped_with_its_last_user() {
        let settings = EngineSettings { instances: 2, ..EngineSettings::default() };
        let pools = Pools::new(&settings).unwrap();
        let old = pools.current();
        pools.renew().unwrap();
        assert!(!wasmtime::Engine::same(&old.wasmtime, &pools.current().wasmtime));

        let count = || {
            let mut count = 0;
            pools.for_each_engine(|_| count += 1);
            count
        };
        assert_eq!(count(), 2);
        drop(old);
        assert_eq!(count(), 1);
    }
}
