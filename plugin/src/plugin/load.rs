//! From a file's bytes to a plugin that can be called.
//!
//! All that can be known before the first call is found out here: that it is a
//! component, that it imports nothing it is not lent, that it has methods, that
//! it can start within its limits. Compiling may take seconds: load on a thread
//! that may block.

use crate::compile::cache::Source;
use crate::component::encode::encode;
use crate::component::imports::{Exports, check_exports, check_imports, check_imports_of_bytes};
use crate::component::sniff::{Kind, sniff};
use crate::engine::{Engine, Shared};
use crate::error::{on_one_line, one_line};
use crate::plugin::bursts::AtOnce;
use crate::plugin::linked::Linked;
use crate::{Capability, HttpSettings, Limits, LoadError};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Semaphore;
use wasmtime::component::Component;

/// The core WebAssembly page.
const PAGE_BYTES: u64 = 64 * 1024;

/// A plugin's entry in the host's configuration, as far as it concerns the
/// sandbox.
#[derive(Debug, Clone, Default)]
pub struct PluginSettings {
    /// What it may use.
    pub limits: Limits,
    /// What the interface `config` tells it.
    pub config: BTreeMap<String, String>,
    /// What it is granted beyond the default world, if it asks for it.
    pub capabilities: BTreeSet<Capability>,
    /// What the capability `http` lets it do.
    pub http: HttpSettings,
}

/// A component that is ready to be called. Clones are the same plugin.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) loaded: Arc<Loaded>,
}

pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) http: HttpSettings,
    pub(crate) imports: Vec<String>,
    pub(crate) wasi: bool,
    pub(crate) capabilities: BTreeSet<Capability>,
    pub(crate) exports: Exports,
    pub(crate) source: Source,
    /// Of that source; another one after a burst, see [`crate::plugin::bursts`].
    pub(crate) linked: RwLock<Arc<Linked>>,
    pub(crate) peak_memory_bytes: AtomicUsize,
    pub(crate) permits: Semaphore,
    pub(crate) at_once: AtOnce,
    pub(crate) engine: Arc<Shared>,
}

/// A component, compiled, of which any number of plugins can be made.
#[derive(Clone)]
pub struct Compiled {
    pub(crate) component: Component,
    source: Source,
}

impl Engine {
    /// Loads a plugin: a component in binary form or as text, or a core module
    /// with embedded WIT. Blocks while it compiles.
    pub fn load(
        &self,
        name: &str,
        bytes: &[u8],
        settings: PluginSettings,
    ) -> Result<Plugin, LoadError> {
        self.check_limits(&settings.limits)?;
        check_size(bytes.len() as u64, &settings.limits)?;
        let bytes = component_bytes(bytes)?;
        check_imports_of_bytes(&bytes, name, &settings.capabilities)?;
        let compiled = self.compile_component(&bytes, &settings.limits)?;
        self.plugin(name, &compiled, settings)
    }

    /// Compiles a component, or finds it compiled; its size and the time that it
    /// takes are held to the limits. Blocks.
    pub fn compile(&self, bytes: &[u8], limits: &Limits) -> Result<Compiled, LoadError> {
        check_size(bytes.len() as u64, limits)?;
        self.compile_component(&component_bytes(bytes)?, limits)
    }

    fn compile_component(&self, bytes: &[u8], limits: &Limits) -> Result<Compiled, LoadError> {
        let Shared { wasmtime, compiler, cache, .. } = &*self.shared;
        let source = Source::of(bytes, limits);
        let component = compiler.component(wasmtime, cache.as_ref(), bytes, source, limits)?;
        Ok(Compiled { component, source })
    }

    /// Makes a plugin of a component that this engine has compiled.
    pub fn plugin(
        &self,
        name: &str,
        compiled: &Compiled,
        settings: PluginSettings,
    ) -> Result<Plugin, LoadError> {
        let PluginSettings { limits, config, capabilities, http } = settings;
        self.check_limits(&limits)?;
        let (wasmtime, component) = (&self.shared.wasmtime, &compiled.component);
        let imports = check_imports(wasmtime, component, name, &capabilities)?;
        let exports = check_exports(wasmtime, component)?;
        check_memory(component, &limits)?;

        let linked =
            Linked::new(&self.shared, component, exports, &imports.capabilities, imports.wasi)
                .map_err(|error| LoadError::Mismatch(one_line(&error)))?;
        let loaded = Arc::new(Loaded {
            name: name.to_owned(),
            permits: Semaphore::new(limits.calls_at_once),
            at_once: AtOnce::default(),
            limits,
            config,
            http,
            imports: imports.names,
            wasi: imports.wasi,
            capabilities: imports.capabilities,
            exports,
            source: compiled.source,
            linked: RwLock::new(Arc::new(linked)),
            peak_memory_bytes: AtomicUsize::new(0),
            engine: Arc::clone(&self.shared),
        });
        let mut plugins = self.shared.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        plugins.retain(|plugin| plugin.strong_count() > 0);
        plugins.push(Arc::downgrade(&loaded));
        drop(plugins);
        Ok(Plugin { loaded })
    }

    /// The same from a file, of which no more is read than a component may have.
    pub fn load_file(
        &self,
        name: &str,
        path: &Path,
        settings: PluginSettings,
    ) -> Result<Plugin, LoadError> {
        let unreadable = |source| LoadError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        check_size(file.metadata().map_err(unreadable)?.len(), &settings.limits)?;
        let mut bytes = Vec::new();
        file.take(settings.limits.component_bytes as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        self.load(name, &bytes, settings)
    }

    fn check_limits(&self, limits: &Limits) -> Result<(), LoadError> {
        limits.check()?;
        if limits.memory_bytes > self.shared.memory_bytes {
            return Err(LoadError::EngineMemory {
                asked: limits.memory_bytes,
                most: self.shared.memory_bytes,
            });
        }
        Ok(())
    }
}

impl Loaded {
    /// What a call runs in, and keeps until it ends.
    pub(crate) fn linked(&self) -> Arc<Linked> {
        Arc::clone(&self.linked.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many calls run now.
    pub(crate) fn running(&self) -> usize {
        self.limits.calls_at_once.saturating_sub(self.permits.available_permits())
    }
}

impl Plugin {
    /// Its name in the host's configuration.
    pub fn name(&self) -> &str {
        &self.loaded.name
    }

    /// What it imports, all of which it is lent.
    pub fn imports(&self) -> &[String] {
        &self.loaded.imports
    }

    /// What it has to call beside its methods.
    pub fn exports(&self) -> Exports {
        self.loaded.exports
    }

    /// The capabilities that it asks for and was granted. One that was granted
    /// and is not here is not asked for.
    pub fn capabilities(&self) -> &BTreeSet<Capability> {
        &self.loaded.capabilities
    }

    /// What it may use.
    pub fn limits(&self) -> &Limits {
        &self.loaded.limits
    }

    /// The most linear memory that one of its calls has had so far, its headroom
    /// (512 KiB as a rule) included; only calls that have ended count.
    pub fn peak_memory_bytes(&self) -> usize {
        self.loaded.peak_memory_bytes.load(Ordering::Relaxed)
    }
}

fn check_size(bytes: u64, limits: &Limits) -> Result<(), LoadError> {
    if bytes > limits.component_bytes as u64 {
        return Err(LoadError::TooLarge { bytes, limit_bytes: limits.component_bytes });
    }
    Ok(())
}

/// The component in binary form.
fn component_bytes(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    match sniff(bytes).map_err(LoadError::NotWebAssembly)? {
        Kind::CoreModule => Ok(Cow::Owned(encode(bytes)?)),
        Kind::Component => wat::parse_bytes(bytes)
            .map_err(|error| LoadError::Invalid(on_one_line(&error.to_string()))),
    }
}

/// The memory that a call has at its start, its headroom included; `None` where that cannot be known.
pub(crate) fn memory_at_start(component: &Component) -> Option<u64> {
    let pages = component.resources_required()?.max_initial_memory_size.unwrap_or(0);
    Some(pages.saturating_mul(PAGE_BYTES))
}

/// A component whose memories start larger than they may be would trap at every
/// call.
fn check_memory(component: &Component, limits: &Limits) -> Result<(), LoadError> {
    let needs_bytes = memory_at_start(component).unwrap_or(0);
    if needs_bytes > limits.memory_bytes as u64 {
        return Err(LoadError::Memory { needs_bytes, limit_bytes: limits.memory_bytes });
    }
    Ok(())
}
