//! A loaded plugin: its description, and the machinery that runs it.

mod at_once;
mod bursts;
mod invoke;
mod linked;
mod load;

use crate::about::About;
use crate::call::memory::PluginMemory;
use crate::compile::cache::Source;
use crate::component::imports::Exports;
use crate::engine::EngineParts;
use crate::{Capability, Limits};
use at_once::AtOnce;
use linked::Linked;
use parking_lot::RwLock;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::Semaphore;

/// A component that is ready to be called. Clones are the same plugin.
#[derive(Clone)]
pub struct Plugin {
    loaded: Arc<Loaded>,
}

/// The machinery of a plugin.
struct Loaded {
    about: Arc<About>,
    engine: Arc<EngineParts>,
    source: Source,
    /// Of that source; another one after a burst, see [`bursts`].
    linked: RwLock<Arc<Linked>>,
    permits: Semaphore,
    at_once: AtOnce,
    memory: Arc<PluginMemory>,
}

impl Plugin {
    /// Returns its name in the host's configuration.
    pub fn name(&self) -> &str {
        &self.loaded.about.name
    }

    /// Returns its imports, all of which it is lent.
    pub fn imports(&self) -> &[String] {
        &self.loaded.about.imports.names
    }

    /// Returns its optional exports.
    pub fn exports(&self) -> Exports {
        self.loaded.about.exports
    }

    /// Returns the capabilities that it requests and was granted. A capability that was
    /// granted but is missing here was not requested.
    pub fn capabilities(&self) -> &BTreeSet<Capability> {
        &self.loaded.about.imports.capabilities
    }

    /// Returns the limits of its calls.
    pub fn limits(&self) -> &Limits {
        &self.loaded.about.limits
    }

    /// The most linear memory that one of its calls has had so far, its headroom
    /// (512 KiB as a rule) included; only calls that have ended count.
    pub fn peak_memory_bytes(&self) -> usize {
        self.loaded.memory.peak_bytes.load(Relaxed)
    }
}

impl Loaded {
    /// Returns the linked component, which a call keeps until it ends.
    fn linked(&self) -> Arc<Linked> {
        Arc::clone(&self.linked.read())
    }

    /// Returns the number of calls that run now.
    fn running(&self) -> usize {
        self.about.limits.calls_at_once.saturating_sub(self.permits.available_permits())
    }
}
