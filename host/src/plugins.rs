//! Loading of plugins, at the start of the host and when their files change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};

use plugin::{
    Capability, CompiledCode, Engine, EngineError, EngineSettings, LoadError, Plugin, QueueMemory,
};
use tokio::runtime::Handle;
use tracing::{info, warn};
use trust::TrustError;

use crate::config::{Config, PluginSection, TrustSection};
use crate::plugins::slot::Loaded;
use compiled::NotAccepted;
pub(crate) use compiling::{Compilation, Compiling};
use file::{FileError, WholeFile};
use machine::quarter_of_memory;

mod compiled;
mod compiling;
mod file;
#[cfg(test)]
pub(crate) mod gate;
mod machine;
pub(crate) mod slot;

/// The maximum number of instances for the last calls of replaced versions.
const MAX_RETIRING: usize = 512;

/// The number of instances for plugins that are added after the start.
const SPARE_INSTANCES: usize = 256;

/// The reason why the plugins of a configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// A failure to create the engine.
    #[error("plugins")]
    Engine(#[source] EngineError),
    /// A failure to load a plugin.
    #[error("plugin `{name}`")]
    Load {
        /// The plugin's name in the configuration.
        name: String,
        /// The cause.
        #[source]
        source: LoadError,
    },
    /// A file that is not the one that the configuration names by its digest.
    #[error("plugin `{name}`")]
    Digest {
        /// The plugin's name in the configuration.
        name: String,
        /// The cause.
        #[source]
        source: DigestMismatch,
    },
    /// A compiled plugin of an origin that is not trusted.
    #[error("plugin `{name}`")]
    NotAccepted {
        /// The plugin's name in the configuration.
        name: String,
        /// The cause.
        #[source]
        source: NotAccepted,
    },
    /// Missing certificates for a plugin that can send HTTP requests.
    #[error("plugin `{name}`")]
    Trust {
        /// The plugin's name in the configuration.
        name: String,
        /// The cause.
        #[source]
        source: TrustError,
    },
}

/// A file whose digest is not the configured one.
#[derive(Debug, thiserror::Error)]
#[error("the SHA-256 digest of {} is {found}, not {expected} as in `sha256`", .file.display())]
pub struct DigestMismatch {
    /// The path of the file.
    pub file: PathBuf,
    /// The digest of the file.
    pub found: String,
    /// The digest in the configuration.
    pub expected: String,
}

impl PluginError {
    /// Returns a hint for the operator, if there is one action that helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            PluginError::Engine(EngineError::Cache { .. }) => {
                Some("set `compile_cache` under [host] to a directory that may be written".into())
            }
            PluginError::Engine(_) => Some("lower `calls_at_once` in the plugins' limits".into()),
            PluginError::Load { name, source: LoadError::Read { source, .. } }
                if matches!(
                    source.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::IsADirectory
                        | io::ErrorKind::InvalidInput
                ) =>
            {
                Some(format!(
                    "set `file` under [plugins.{name}] to the component, or make it with \
                     `behaviour build`"
                ))
            }
            PluginError::Digest { name, .. } => Some(format!(
                "install the file that `sha256` under [plugins.{name}] names, or correct `sha256`"
            )),
            PluginError::NotAccepted { source, .. } => Some(source.hint().to_owned()),
            PluginError::Load { source: LoadError::EngineMemory { .. }, .. } => {
                Some("restart the host, so that its engine allows the new limit".into())
            }
            PluginError::Trust { name, .. } => Some(format!(
                "set `ca_file` under [plugins.{name}.http] to a PEM file of certificates"
            )),
            PluginError::Load { source: LoadError::CompileMemory { .. }, .. } => {
                Some("raise `memory_bytes` under [host]".into())
            }
            PluginError::Load { source: LoadError::Budget { .. }, .. } => {
                Some("raise `memory_bytes` under [host], or lower that of the plugin".into())
            }
            PluginError::Load { source, .. } => source.hint().map(str::to_owned),
        }
    }
}

/// The loader of plugins. Clones share the engine.
#[derive(Clone)]
pub(crate) struct Loader {
    engine: Engine,
    /// The memory for all calls, in bytes.
    memory_bytes: usize,
    trust: Arc<TrustSection>,
    /// The number of compiled versions per plugin to keep in the cache besides those in use.
    /// `None` for the user's cache, which other programs share.
    previous: Option<usize>,
    /// `true` if a version was compiled since the cache was last trimmed.
    has_compiled: Arc<AtomicBool>,
    compiling: Compiling,
    #[cfg(test)]
    pub(crate) gate: gate::Gate,
}

impl Loader {
    /// Creates the engine, with capacity for the plugins of a configuration.
    pub(crate) fn new(config: &Config) -> Result<Loader, PluginError> {
        // Up to twice the limit of calls, because a replaced version finishes its calls while
        // the new version accepts calls. The limits keep the pool small: Linux allows 65,530
        // memory mappings per process, each instance of the pool takes two, and each running
        // call takes four more.
        let calls = config.calls_at_once();
        let instances = calls + calls.min(MAX_RETIRING) + SPARE_INSTANCES;
        let memory_bytes = config.host.memory_bytes.unwrap_or_else(quarter_of_memory);
        let engine = Engine::new(&EngineSettings {
            instances: u32::try_from(instances).unwrap_or(u32::MAX),
            max_call_memory_bytes: config.memory_bytes(),
            memory_bytes,
            cache: config.host.compile_cache.clone(),
            ..EngineSettings::default()
        })
        .map_err(PluginError::Engine)?;
        let previous = config.host.compile_cache_previous;
        let previous = config.host.compile_cache.as_ref().map(|_| previous);
        // `true`, so that versions of an earlier run are trimmed once the plugins are loaded.
        let has_compiled = Arc::new(AtomicBool::new(true));
        Ok(Loader {
            engine,
            memory_bytes,
            trust: Arc::new(config.host.trust.clone()),
            previous,
            has_compiled,
            compiling: Compiling::default(),
            #[cfg(test)]
            gate: gate::Gate::default(),
        })
    }

    /// Returns the memory for the queues of all devices.
    pub(crate) fn queue_memory(&self) -> QueueMemory {
        self.engine.queue_memory()
    }

    /// Compiles and checks a plugin. Blocks, for seconds if the compiled plugin is not in the
    /// cache.
    pub(crate) fn load(
        &self,
        name: &str,
        section: &PluginSection,
        file: &WholeFile,
    ) -> Result<Loaded<Plugin>, PluginError> {
        let _listed = self.compiling.begin(name);
        #[cfg(test)]
        self.gate.pass(&file.digest);
        let begun = std::time::Instant::now();
        let hits = self.engine.cache_hits();
        let settings = Arc::new(section.settings.clone());
        let not_loaded = |source| PluginError::Load { name: name.to_owned(), source };
        let made = match plugin::is_compiled(&file.bytes) {
            true => {
                // Before the signature, whose refusal would not say that the file is damaged.
                let code = CompiledCode::parse(&file.bytes).map_err(not_loaded)?;
                compiled::accept(section, file, &self.trust)
                    .map_err(|source| PluginError::NotAccepted { name: name.to_owned(), source })?;
                self.engine.load_compiled(name, code, settings.to_sandbox())
            }
            false => self.engine.load(name, &file.bytes, settings.to_sandbox()),
        };
        let plugin = made.map_err(not_loaded)?;
        let cached = self.engine.cache_hits() > hits;
        self.has_compiled.fetch_or(!cached, Ordering::Relaxed);
        if !cached {
            self.compiling.compiled(begun.elapsed());
        }
        info!(
            plugin = name,
            file = %section.file.display(),
            digest = file.digest,
            cached,
            elapsed_ms = begun.elapsed().as_millis(),
            granted = %names(plugin.capabilities()),
            "plugin loaded"
        );
        let unused = settings.capabilities() - plugin.capabilities();
        if !unused.is_empty() {
            warn!(plugin = name, granted = %names(&unused), "capability granted, but not imported");
        }
        Ok(Loaded { plugin, digest: file.digest.clone(), settings })
    }

    /// Returns the memory of the running calls and its limit, in bytes.
    pub(crate) fn memory(&self) -> (usize, usize) {
        (self.engine.memory_in_use(), self.memory_bytes)
    }

    /// Returns the list of compilations in progress.
    pub(crate) fn compiling(&self) -> &Compiling {
        &self.compiling
    }

    /// Returns `true` if a version was compiled since the cache was last trimmed.
    pub(crate) fn is_trim_due(&self) -> bool {
        self.previous.is_some() && self.has_compiled.load(Ordering::Relaxed)
    }

    /// Removes compiled versions that are no longer needed. `plugins` is the number of plugins,
    /// which must all be loaded. Blocks.
    pub(crate) fn trim_cache(&self, plugins: usize) {
        let Some(previous) = self.previous else { return };
        self.has_compiled.store(false, Ordering::Relaxed);
        match self.engine.trim_cache(previous.saturating_mul(plugins)) {
            Ok(0) => {}
            Ok(removed) => info!(removed, "compiled versions removed from the compile cache"),
            Err(error) => warn!("compile cache not trimmed: {error}"),
        }
    }
}

/// Reads the file of a plugin. Returns an error if it exceeds the plugin's limit.
pub(crate) fn read(name: &str, section: &PluginSection) -> Result<WholeFile, PluginError> {
    let path = &section.file;
    let file = WholeFile::read(path, section.settings.component_bytes()).map_err(|error| {
        let source = match error {
            FileError::Read(source) => LoadError::Read { path: path.clone(), source },
            FileError::TooLarge { bytes, limit_bytes } => {
                LoadError::TooLarge { bytes, limit_bytes }
            }
        };
        PluginError::Load { name: name.to_owned(), source }
    })?;
    match &section.sha256 {
        Some(expected) if *expected != file.digest => {
            let (found, expected) = (file.digest, expected.clone());
            let source = DigestMismatch { file: path.clone(), found, expected };
            Err(PluginError::Digest { name: name.to_owned(), source })
        }
        _ => Ok(file),
    }
}

/// The outcome of a load, which has no plugin if its file was only read.
type LoadOutcome = Result<Option<Loaded<Plugin>>, PluginError>;

/// Reads and loads every plugin of a configuration, all of them concurrently. `loader` is
/// `None` to read and check the files only. Blocks.
pub(crate) fn load_each(loader: Option<&Loader>, config: &Config) -> Vec<(String, LoadOutcome)> {
    let runtime = Handle::try_current().ok();
    let load = &|name: &str, section: &PluginSection| {
        let _runtime = runtime.as_ref().map(Handle::enter);
        let file = read(name, section)?;
        loader.map(|loader| loader.load(name, section, &file)).transpose()
    };
    // A thread for each plugin, because a compilation blocks its thread and the plugins in
    // the cache must not wait for it.
    thread::scope(|scope| {
        let loads: Vec<_> = config
            .plugins
            .iter()
            .map(|(name, section)| (name.clone(), scope.spawn(move || load(name, section))))
            .collect();
        let join =
            |load: ScopedJoinHandle<'_, _>| load.join().unwrap_or_else(|it| resume_unwind(it));
        loads.into_iter().map(|(name, load)| (name, join(load))).collect()
    })
}

/// Reads and loads every plugin of a configuration, all of them concurrently. Blocks.
pub(crate) fn load_all(
    loader: &Loader,
    config: &Config,
) -> Result<BTreeMap<String, Loaded<Plugin>>, PluginError> {
    let loads = load_each(Some(loader), config).into_iter();
    loads.filter_map(|(name, made)| made.transpose().map(|made| Ok((name, made?)))).collect()
}

/// Formats capabilities for the log, such as `http, power`, or `nothing`.
fn names(capabilities: &BTreeSet<Capability>) -> String {
    if capabilities.is_empty() {
        return "nothing".to_owned();
    }
    capabilities.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ")
}
