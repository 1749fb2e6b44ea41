//! A loaded plugin.

mod burst_detector;
mod bursts;
mod invoke;
mod linked;
mod load;

use crate::about::About;
use crate::call::memory::PluginMemory;
use crate::compile::cache::{InUse, Source};
use crate::component::imports::Exports;
use crate::engine::EngineParts;
use crate::{Capability, Limits};
use burst_detector::BurstDetector;
use linked::Linked;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A component that is ready to be called. Clones share one plugin.
#[derive(Clone)]
pub struct Plugin {
    loaded: Arc<Loaded>,
}

/// Permit for one call of a plugin. Dropping it returns it to the plugin.
#[derive(Debug)]
pub struct CallPermit(OwnedSemaphorePermit);

/// Shared state of a plugin.
struct Loaded {
    about: Arc<About>,
    engine: Arc<EngineParts>,
    source: Source,
    /// Guard that keeps the plugin's file in the cache for the next start.
    _in_use: Option<InUse>,
    /// Linked component. [`bursts`] replaces it after a burst.
    linked: RwLock<Arc<Linked>>,
    /// Component linked to the pool for bursts, while that is in use.
    burst: Mutex<Option<Arc<Linked>>>,
    permits: Arc<Semaphore>,
    burst_detector: BurstDetector,
    memory: Arc<PluginMemory>,
}

impl Plugin {
    /// Returns the plugin's name in the host's configuration.
    pub fn name(&self) -> &str {
        &self.loaded.about.name
    }

    /// Returns the names of the imports, all of which the host provides.
    pub fn imports(&self) -> &[String] {
        &self.loaded.about.imports.names
    }

    /// Returns the optional exports.
    pub fn exports(&self) -> Exports {
        self.loaded.about.exports
    }

    /// Returns the capabilities that the component requests and that were granted.
    pub fn capabilities(&self) -> &BTreeSet<Capability> {
        &self.loaded.about.imports.capabilities
    }

    /// Returns the limits of the plugin's calls.
    pub fn limits(&self) -> &Limits {
        &self.loaded.about.limits
    }

    /// Takes a permit for a later call, which counts as running until then. Returns `None` if
    /// the plugin is at its limit of calls.
    #[must_use]
    pub fn reserve(&self) -> Option<CallPermit> {
        Arc::clone(&self.loaded.permits).try_acquire_owned().ok().map(CallPermit)
    }

    /// Returns the peak linear memory of a call in bytes, including headroom (usually 512
    /// KiB). Only calls that have ended count.
    pub fn peak_memory_bytes(&self) -> usize {
        self.loaded.memory.peak_bytes.load(Relaxed)
    }
}

impl Loaded {
    /// Returns the component linked to the pool for steady load.
    fn linked(&self) -> Arc<Linked> {
        Arc::clone(&self.linked.read())
    }

    /// Returns the number of running calls.
    fn running(&self) -> usize {
        self.about.limits.calls_at_once.saturating_sub(self.permits.available_permits())
    }
}
