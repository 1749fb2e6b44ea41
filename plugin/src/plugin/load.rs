//! Loading: from the bytes of a file to a callable plugin.
//!
//! Loading checks everything that can be known before the first call: the file is a component,
//! the host provides all of its imports, it exports methods, and it can start within its
//! limits. Compiling can take seconds, so load on a thread that may block.

use super::burst_detector::BurstDetector;
use super::linked::Linked;
use super::{Loaded, Plugin};
use crate::about::About;
use crate::call::memory::PluginMemory;
use crate::call::{http, wasi};
use crate::compile::file::CompiledCode;
use crate::component;
#[cfg(feature = "compiler")]
use crate::component::imports::check_imports_of_bytes;
use crate::component::imports::{
    Imports, SUPPORTED_VERSION, check_exports, check_imports, newer_than_host,
};
#[cfg(not(feature = "compiler"))]
use crate::component::sniff::sniff;
#[cfg(not(feature = "compiler"))]
use crate::engine::ready::how_to_compile;
use crate::error::one_line;
use crate::{Compiled, Engine, Limits, LoadError, PluginSettings};
use parking_lot::{Mutex, RwLock};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Semaphore;

/// Number of versions that were loaded in this process.
static VERSIONS: AtomicU64 = AtomicU64::new(0);

impl Engine {
    /// Loads a plugin from a component in binary or text form, or from a core module with
    /// embedded WIT. Blocks while it compiles.
    pub fn load(
        &self,
        name: &str,
        bytes: &[u8],
        settings: PluginSettings,
    ) -> Result<Plugin, LoadError> {
        self.check_limits(&settings.limits)?;
        component::check_size(bytes.len() as u64, &settings.limits)?;
        let compiled = self.compile_allowed(name, bytes, &settings)?;
        self.plugin(name, &compiled, settings)
    }

    /// Loads a plugin that was compiled elsewhere.
    ///
    /// The caller vouches for the code: it can do everything that this process can. Before the
    /// call, verify a signature, or that nobody else could have written the file.
    pub fn load_compiled(
        &self,
        name: &str,
        code: CompiledCode<'_>,
        settings: PluginSettings,
    ) -> Result<Plugin, LoadError> {
        self.check_limits(&settings.limits)?;
        component::check_size(code.code.len() as u64, &settings.limits)?;
        let compiled = self.accept(code, &settings.limits)?;
        self.plugin(name, &compiled, settings)
    }

    /// Compiles a component whose imports are provided.
    #[cfg(feature = "compiler")]
    fn compile_allowed(
        &self,
        name: &str,
        bytes: &[u8],
        settings: &PluginSettings,
    ) -> Result<Compiled, LoadError> {
        let bytes = self.binary(bytes, &settings.limits)?;
        check_imports_of_bytes(&bytes, name, &settings.capabilities)?;
        self.compile_binary(&bytes, &settings.limits)
    }

    #[cfg(not(feature = "compiler"))]
    fn compile_allowed(
        &self,
        _name: &str,
        bytes: &[u8],
        _settings: &PluginSettings,
    ) -> Result<Compiled, LoadError> {
        sniff(bytes).map_err(LoadError::NotWebAssembly)?;
        Err(LoadError::NoCompiler { hint: how_to_compile() })
    }

    /// Creates a plugin from a component that was compiled by this engine.
    pub fn plugin(
        &self,
        name: &str,
        compiled: &Compiled,
        settings: PluginSettings,
    ) -> Result<Plugin, LoadError> {
        let PluginSettings { limits, config, capabilities, http } = settings;
        self.check_limits(&limits)?;
        let component = &compiled.component;
        let wasmtime = component.engine();
        let imports = check_imports(wasmtime, component, name, &capabilities)?;
        let exports = check_exports(wasmtime, component)?;
        check_initial_memory(compiled, &limits)?;
        let memory = self.plugin_memory(compiled, &imports)?;

        let http_slots = Semaphore::new(http::AT_ONCE_OF_PLUGIN);
        let name = name.to_owned();
        let version = VERSIONS.fetch_add(1, Ordering::Relaxed);
        let about = About { name, version, limits, config, http, http_slots, imports, exports };
        let pool = self.parts.pools.current();
        let linked = Linked::new(&self.parts, pool, component, &compiled.source, &about)
            .map_err(|error| link_error(&one_line(&error)))?;
        let loaded = Loaded {
            permits: Arc::new(Semaphore::new(about.limits.calls_at_once)),
            about: Arc::new(about),
            engine: Arc::clone(&self.parts),
            source: compiled.source,
            _in_use: compiled.in_use.clone(),
            linked: RwLock::new(Arc::new(linked)),
            burst: Mutex::default(),
            burst_detector: BurstDetector::default(),
            memory: Arc::new(memory),
        };
        Ok(Plugin { loaded: Arc::new(loaded) })
    }

    /// Loads a plugin from a file. Reads at most one byte more than `component_bytes`.
    pub fn load_file(
        &self,
        name: &str,
        path: &Path,
        settings: PluginSettings,
    ) -> Result<Plugin, LoadError> {
        let unreadable = |source| LoadError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        component::check_size(file.metadata().map_err(unreadable)?.len(), &settings.limits)?;
        let mut bytes = Vec::new();
        file.take(settings.limits.component_bytes as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        self.load(name, &bytes, settings)
    }

    /// Computes the initial memory of a call. Returns an error if it exceeds the budget.
    fn plugin_memory(
        &self,
        compiled: &Compiled,
        imports: &Imports,
    ) -> Result<PluginMemory, LoadError> {
        let budget = Arc::clone(&self.parts.budget);
        let mut fixed_bytes = self.parts.call_bytes;
        if imports.wasi_http {
            fixed_bytes += wasi::MAX_RESOURCES * http::wasi::RESOURCE_BYTES;
        }
        if imports.http {
            // Those of the request and of the response.
            fixed_bytes += 2 * http::FIELD_BYTES;
        }
        let initial_bytes = fixed_bytes.saturating_add(compiled.initial_bytes());
        if initial_bytes > budget.limit_bytes() {
            let (needs_bytes, limit_bytes) = (initial_bytes, budget.limit_bytes());
            return Err(LoadError::Budget { needs_bytes, limit_bytes });
        }
        Ok(PluginMemory { budget, fixed_bytes, initial_bytes, peak_bytes: AtomicUsize::new(0) })
    }

    fn check_limits(&self, limits: &Limits) -> Result<(), LoadError> {
        limits.check()?;
        if limits.memory_bytes > self.parts.max_call_memory_bytes {
            return Err(LoadError::EngineMemory {
                requested: limits.memory_bytes,
                max: self.parts.max_call_memory_bytes,
            });
        }
        Ok(())
    }
}

/// Maps a link error. wasmtime's message quotes the instance first, then its function or type.
fn link_error(reason: &str) -> LoadError {
    let mut quoted = reason.split('`').skip(1).step_by(2).map(str::to_owned);
    let (Some(interface), Some(item)) = (quoted.next(), quoted.next()) else {
        return LoadError::Mismatch(reason.to_owned());
    };
    if reason.contains("does not have export") {
        return LoadError::MissingExport { function: item, interface };
    }
    if let Some((interface, version)) = newer_than_host(&interface) {
        let (interface, version) = (interface.to_owned(), version.to_owned());
        return LoadError::Newer {
            function: item,
            interface,
            version,
            supported: SUPPORTED_VERSION,
        };
    }
    if reason.ends_with("implementation is missing") {
        return LoadError::MissingImport { item, interface };
    }
    LoadError::OtherType { item, interface }
}

/// Checks that the initial memory is within the limit. A component with a larger initial memory
/// would trap in every call.
fn check_initial_memory(compiled: &Compiled, limits: &Limits) -> Result<(), LoadError> {
    let needs_bytes = compiled.initial_memory_bytes().unwrap_or(0);
    if needs_bytes > limits.memory_bytes as u64 {
        return Err(LoadError::Memory { needs_bytes, limit_bytes: limits.memory_bytes });
    }
    Ok(())
}
