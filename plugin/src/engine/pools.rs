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
//!
//! A process of 32 bits has too little address space for a pool. There, wasmtime allocates each
//! instance when it is created, and a [`Pool`] only counts its calls.

use crate::call::state::CallState;
use crate::engine::EngineSettings;
#[cfg(feature = "compiler")]
use crate::engine::freed::QueueFlusher;
use crate::engine::wasmtime_settings::{ON_DEMAND, Purpose, create};
#[cfg(feature = "compiler")]
use crate::error::one_line;
use crate::interfaces;
use parking_lot::{Mutex, RwLock};
#[cfg(feature = "compiler")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use wasmtime::EngineWeak;
use wasmtime::component::Linker;

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
        let (wasmtime, places) = create(settings, purpose)?;
        let mut linker = Linker::new(&wasmtime);
        interfaces::add_to_linker(&mut linker)?;
        Ok(Pool {
            wasmtime,
            linker,
            #[cfg(feature = "compiler")]
            flusher: OnceLock::new(),
            places,
            taken: AtomicU32::new(0),
        })
    }

    /// Returns `true` if the pool itself refuses calls for which it has no instance.
    pub(crate) fn refuses(&self) -> bool {
        !ON_DEMAND
    }

    /// Returns the number of calls that can take a place.
    pub(crate) fn places(&self) -> u32 {
        self.places
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
        // Without the compiler, there is no queue: see `wasmtime_settings`.
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

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_pointer_width = "64")]
    use crate::engine::wasmtime_settings::STEADY_INSTANCES;

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

    #[cfg(target_pointer_width = "64")]
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

    #[cfg(target_pointer_width = "64")]
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
