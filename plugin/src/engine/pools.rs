//! Pools of instances: one for steady load, one for bursts, and earlier ones with calls in
//! progress.
//!
//! wasmtime keeps the pages that instances have touched resident for the next instances in
//! their slots, and has no function that releases them. [`Pools::renew`] replaces the whole pool
//! instead. The memory of the old pool is released when its last plugin has moved to the new
//! one and its last call has ended.
//!
//! Kept pages are overwritten after each call, also those that the call has not touched. For the
//! many calls of a burst, which mostly wait, this would take far more memory and time than
//! their guests. So the calls for which the pool for steady load has no place use another pool,
//! which keeps nothing.

use crate::call::state::CallState;
use crate::component::features::SUPPORTED;
#[cfg(feature = "compiler")]
use crate::engine::freed::QueueFlusher;
use crate::engine::{BATCH, EngineSettings};
use crate::error::one_line;
use crate::interfaces;
use parking_lot::{Mutex, RwLock};
#[cfg(feature = "compiler")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use wasmparser::WasmFeatures;
use wasmtime::component::Linker;
use wasmtime::{
    Config, Enabled, EngineWeak, InstanceAllocationStrategy, ModuleVersionStrategy,
    PoolingAllocationConfig,
};

const KIB: usize = 1024;

/// Stack for host functions, in addition to the guest's. Host functions run on the guest's
/// stack; the deepest ones parse a patch or format a log line.
const HOST_STACK_BYTES: usize = 512 * KIB;

/// Memory for the functions, globals and resources of one call's instances. CPython needs
/// 395 KiB, Go 91 KiB and QuickJS 55 KiB; wasmtime's default is 1 MiB for each core
/// instance.
pub(super) const INSTANCE_BYTES: usize = 512 * KIB;

/// Number of instances of the pool for steady load. Calls that do not wait are rarely concurrent,
/// so few instances suffice for them.
const STEADY_INSTANCES: u32 = 128;

/// Maximum numbers of core instances, tables and memories of a component.
const CORE_INSTANCES: u32 = 16;
const TABLES: u32 = 16;
const MEMORIES: u32 = 4;

/// Number of parts in a batch. A queue can be emptied only by a module that is compiled for it
/// (`freed`), so there is no queue without the compiler.
const DECOMMIT_BATCH: usize = if cfg!(feature = "compiler") { BATCH } else { 1 };

/// Prefix of a linear memory that stays resident between calls. It covers the stack and data of
/// a small guest, and the first 64 KiB of its heap, whose last page an allocator writes to.
const RESIDENT_BYTES: usize = 192 * KIB;

/// Parts of a stack and of a table that stay resident between calls. They cover the pages that
/// a small guest touches.
const RESIDENT_STACK_BYTES: usize = 16 * KIB;
const RESIDENT_TABLE_BYTES: usize = 8 * KIB;

/// Pool of instances with its wasmtime engine.
pub(crate) struct Pool {
    pub(crate) wasmtime: wasmtime::Engine,
    /// Linker of the default world. Each plugin extends a copy with its capabilities.
    pub(crate) linker: Linker<CallState>,
    /// Created after the first large call; `None` if that failed.
    #[cfg(feature = "compiler")]
    flusher: OnceLock<Option<QueueFlusher>>,
    /// Number of calls that can take a place.
    places: u32,
    taken: AtomicU32,
}

/// Current pools and the earlier ones that are still in use.
pub(crate) struct Pools {
    settings: EngineSettings,
    current: RwLock<Arc<Pool>>,
    /// Pool for bursts, while it is in use.
    burst: Mutex<Weak<Pool>>,
    /// Engines of all pools in use.
    engines: Mutex<Vec<EngineWeak>>,
}

/// Purpose of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Calls that rarely wait. Keeps the first pages of an instance resident.
    Steady,
    /// Further calls of a burst. Keeps no pages resident.
    Burst,
}

impl Purpose {
    /// Returns the number of instances of a pool, of all that the settings allow.
    fn instances(self, settings: &EngineSettings) -> u32 {
        match self {
            Purpose::Steady => settings.instances.min(STEADY_INSTANCES),
            Purpose::Burst => settings.instances.saturating_sub(STEADY_INSTANCES),
        }
    }
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
        let pool = Pool::new(settings, Purpose::Steady)?;
        let engines = Mutex::new(vec![pool.wasmtime.weak()]);
        let (settings, current) = (settings.clone(), RwLock::new(Arc::new(pool)));
        Ok(Pools { settings, current, burst: Mutex::default(), engines })
    }

    /// Returns the current pool for steady load.
    pub(crate) fn current(&self) -> Arc<Pool> {
        Arc::clone(&self.current.read())
    }

    /// Returns the pool for bursts, which is created if it is not in use. For ten thousand
    /// instances this takes some 20 ms. Returns `None` if the other pool has all instances.
    pub(crate) fn burst(&self) -> wasmtime::Result<Option<Arc<Pool>>> {
        if Purpose::Burst.instances(&self.settings) == 0 {
            return Ok(None);
        }
        let mut burst = self.burst.lock();
        if let Some(pool) = burst.upgrade() {
            return Ok(Some(pool));
        }
        let pool = Arc::new(Pool::new(&self.settings, Purpose::Burst)?);
        self.engines.lock().push(pool.wasmtime.weak());
        *burst = Arc::downgrade(&pool);
        Ok(Some(pool))
    }

    /// Replaces the current pool for steady load by a new one, which takes milliseconds.
    pub(crate) fn renew(&self) -> wasmtime::Result<()> {
        let pool = Pool::new(&self.settings, Purpose::Steady)?;
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
    fn new(settings: &EngineSettings, purpose: Purpose) -> wasmtime::Result<Pool> {
        // Large reservations make bounds checks unnecessary, but many small machines have
        // 39 bits of address space, too few for large reservations.
        let config = |space| wasmtime_config(settings, purpose, space);
        let wasmtime = match wasmtime::Engine::new(&config(AddressSpace::Full)) {
            Ok(wasmtime) => wasmtime,
            Err(error) => {
                tracing::info!(reason = %one_line(&error), "fell back to compact address space");
                wasmtime::Engine::new(&config(AddressSpace::Compact))?
            }
        };
        let mut linker = Linker::new(&wasmtime);
        interfaces::add_to_linker(&mut linker)?;
        let places = purpose.instances(settings);
        Ok(Pool {
            wasmtime,
            linker,
            #[cfg(feature = "compiler")]
            flusher: OnceLock::new(),
            places,
            taken: AtomicU32::new(0),
        })
    }

    /// Takes a place for a call. Returns `false` if there is none.
    pub(crate) fn take_place(&self) -> bool {
        let is_free = self.taken.fetch_add(1, Relaxed) < self.places;
        if !is_free {
            self.return_place();
        }
        is_free
    }

    /// Returns a place that was taken.
    pub(crate) fn return_place(&self) {
        self.taken.fetch_sub(1, Relaxed);
    }

    /// Returns `true` if less than a quarter of the places are taken.
    pub(crate) fn is_mostly_free(&self) -> bool {
        self.taken.load(Relaxed) < self.places.div_ceil(4)
    }

    /// Returns the freed pages of a large call to the system. Must be called by the thread that has
    /// dropped the call's store.
    pub(crate) fn release_freed_pages(&self) {
        // Without the compiler, there is no queue: see `DECOMMIT_BATCH`.
        #[cfg(feature = "compiler")]
        {
            let flusher = self.flusher.get_or_init(|| {
                let created = QueueFlusher::new(&self.wasmtime);
                created
                    .inspect_err(|error| {
                        tracing::warn!(
                            "memory of large calls is released late: {}",
                            one_line(error)
                        );
                    })
                    .ok()
            });
            if let Some(flusher) = flusher {
                flusher.flush();
            }
        }
    }
}

/// Returns the settings that compiled code depends on.
pub(super) fn code_settings() -> Config {
    let mut config = Config::new();
    config
        .wasm_features(SUPPORTED, true)
        .wasm_features(WasmFeatures::all().difference(SUPPORTED), false)
        .concurrency_support(false)
        .epoch_interruption(true)
        // By default, wasmtime accepts code of each version with the same major number.
        .module_version(ModuleVersionStrategy::Custom(env!("BEHAVIOUR_WASMTIME").to_owned()))
        .expect("a version is shorter than 256 bytes");
    config
}

fn wasmtime_config(settings: &EngineSettings, purpose: Purpose, space: AddressSpace) -> Config {
    let mut config = code_settings();
    config
        .async_stack_zeroing(true)
        .max_wasm_stack(settings.stack_bytes)
        .async_stack_size(settings.stack_bytes + HOST_STACK_BYTES)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool_config(settings, purpose)));
    if space == AddressSpace::Compact {
        config
            .memory_reservation(settings.max_call_memory_bytes as u64)
            .memory_guard_size(64 * KIB as u64);
    }
    config
}

fn pool_config(settings: &EngineSettings, purpose: Purpose) -> PoolingAllocationConfig {
    let instances = purpose.instances(settings);
    // A component often has two or three core modules, each with a table: the guest, its WASI
    // adapter, and a shim between them. A place for steady load suffices for every component.
    let (core_instances, tables, memories) = match purpose {
        Purpose::Steady => (CORE_INSTANCES, TABLES, MEMORIES),
        Purpose::Burst => (8, 4, 1),
    };
    let kept = |bytes: usize| if purpose == Purpose::Steady { bytes } else { 0 };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_memories(instances.saturating_mul(memories))
        .total_core_instances(instances.saturating_mul(core_instances))
        .total_tables(instances.saturating_mul(tables))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
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
        .linear_memory_keep_resident(kept(RESIDENT_BYTES))
        .table_keep_resident(kept(RESIDENT_TABLE_BYTES))
        .async_stack_keep_resident(kept(RESIDENT_STACK_BYTES))
        .decommit_batch_size(DECOMMIT_BATCH);
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

    #[test]
    fn the_two_pools_have_all_instances_together() {
        for (instances, steady, burst) in
            [(1, 1, 0), (128, 128, 0), (129, 128, 1), (9000, 128, 8872)]
        {
            let settings = EngineSettings { instances, ..EngineSettings::default() };
            let numbers = [Purpose::Steady, Purpose::Burst].map(|it| it.instances(&settings));
            assert_eq!(numbers, [steady, burst]);
        }
    }

    #[test]
    fn the_pool_for_bursts_is_shared_and_dropped_with_its_last_user() {
        let settings = EngineSettings { instances: STEADY_INSTANCES + 2, ..Default::default() };
        let pools = Pools::new(&settings).unwrap();
        let (first, second) = (pools.burst().unwrap().unwrap(), pools.burst().unwrap().unwrap());
        assert!(Arc::ptr_eq(&first, &second));
        let dropped = Arc::downgrade(&first);
        drop((first, second));
        assert_eq!(dropped.strong_count(), 0);
        assert_eq!(pools.burst().unwrap().unwrap().places, 2);

        let settings = EngineSettings { instances: 2, ..EngineSettings::default() };
        assert!(Pools::new(&settings).unwrap().burst().unwrap().is_none());
    }

    #[test]
    fn a_pool_has_as_many_places_as_instances() {
        let settings = EngineSettings { instances: 8, ..EngineSettings::default() };
        let pool = Pools::new(&settings).unwrap().current();
        assert_eq!((0..10).filter(|_| pool.take_place()).count(), 8);
        assert!(!pool.is_mostly_free());
        (0..7).for_each(|_| pool.return_place());
        assert!(pool.is_mostly_free() && pool.take_place());
    }
}
