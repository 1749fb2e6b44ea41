//! Loading plugins: at the start of the host, and again when they change.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use plugin::{Capability, Engine, EngineError, EngineSettings, LoadError, Plugin};
use tracing::{info, warn};
use trust::TrustError;

use crate::config::{Config, PluginSection};
use crate::plugins::slot::Made;
use file::{FileError, WholeFile};
use machine::quarter_of_memory;

mod file;
mod machine;
pub(crate) mod slot;

/// Calls of versions that leave for which there is room beside all others.
const MOST_LEAVING: usize = 512;

/// Instances that no plugin of the first configuration asks for.
const SPARE_INSTANCES: usize = 256;

/// Reason why the plugins of a configuration cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// There is no engine to run them.
    #[error("plugins")]
    Engine(#[source] EngineError),
    /// One of them.
    #[error("plugin `{name}`")]
    Load {
        /// Its name in the configuration.
        name: String,
        /// Cause.
        #[source]
        source: LoadError,
    },
    /// There are no trusted certificates for a plugin that may send requests.
    #[error("plugin `{name}`")]
    Trust {
        /// Its name in the configuration.
        name: String,
        /// Cause.
        #[source]
        source: TrustError,
    },
}

impl PluginError {
    /// Returns the way out, if one action helps.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            PluginError::Engine(EngineError::Cache { .. }) => {
                Some("set `compile_cache` under [host] to a directory that may be written".into())
            }
            PluginError::Engine(_) => Some("lower `calls_at_once` in the plugins' limits".into()),
            PluginError::Load { name, source: LoadError::Read { source, .. } }
                if source.kind() == io::ErrorKind::NotFound =>
            {
                Some(format!(
                    "set `file` under [plugins.{name}] to the component, or make it with \
                     `behaviour build`"
                ))
            }
            PluginError::Load { source: LoadError::EngineMemory { .. }, .. } => {
                Some("start the host again: it makes room for what its plugins may have".into())
            }
            PluginError::Trust { name, .. } => Some(format!(
                "set `ca_file` under [plugins.{name}.http] to a PEM file of certificates"
            )),
            PluginError::Load { source: LoadError::Budget { .. }, .. } => {
                Some("raise `memory_bytes` under [host], or lower that of the plugin".into())
            }
            PluginError::Load { source, .. } => source.hint().map(str::to_owned),
        }
    }
}

/// Loads plugins, one at a time and as often as their files change.
#[derive(Clone)]
pub(crate) struct Loader {
    engine: Engine,
}

impl Loader {
    /// Makes the engine, with room for the plugins of this configuration.
    pub(crate) fn new(config: &Config) -> Result<Loader, PluginError> {
        // Up to twice the limit of calls, since the version that leaves ends its calls
        // beside the one that comes, and some more for plugins that are added later.
        // But each place in the pool takes two mappings of the kernel, and each running
        // call four more, of the 65,530 that a process may have.
        let calls = config.calls_at_once();
        let instances = calls + calls.min(MOST_LEAVING) + SPARE_INSTANCES;
        let engine = Engine::new(&EngineSettings {
            instances: u32::try_from(instances).unwrap_or(u32::MAX),
            memory_bytes: config.memory_bytes(),
            budget_bytes: config.host.memory_bytes.unwrap_or_else(quarter_of_memory),
            cache: config.host.compile_cache.clone(),
            ..EngineSettings::default()
        })
        .map_err(PluginError::Engine)?;
        Ok(Loader { engine })
    }

    /// Compiles and checks a plugin. Blocks, for seconds where it is compiled
    /// for the first time.
    pub(crate) fn load(
        &self,
        name: &str,
        section: &PluginSection,
        file: &WholeFile,
    ) -> Result<Made<Plugin>, PluginError> {
        let begun = std::time::Instant::now();
        let hits = self.engine.cache_hits();
        let settings = Arc::new(section.settings.clone());
        let plugin = self
            .engine
            .load(name, &file.bytes, settings.to_sandbox())
            .map_err(|source| PluginError::Load { name: name.to_owned(), source })?;
        let cached = self.engine.cache_hits() > hits;
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
        Ok(Made { plugin, digest: file.digest.clone(), settings })
    }
}

/// The whole file of a plugin, if it is not longer than its limits allow.
pub(crate) fn read(name: &str, section: &PluginSection) -> Result<WholeFile, PluginError> {
    let path = &section.file;
    WholeFile::read(path, section.settings.component_bytes()).map_err(|error| {
        let source = match error {
            FileError::Read(source) => LoadError::Read { path: path.clone(), source },
            FileError::TooLarge { bytes, limit_bytes } => {
                LoadError::TooLarge { bytes, limit_bytes }
            }
        };
        PluginError::Load { name: name.to_owned(), source }
    })
}

/// Reads and loads every plugin of a configuration. Blocks.
pub(crate) fn load_all(
    loader: &Loader,
    config: &Config,
) -> Result<BTreeMap<String, Made<Plugin>>, PluginError> {
    let sections = config.plugins.iter();
    sections
        .map(|(name, section)| {
            let file = read(name, section)?;
            Ok((name.clone(), loader.load(name, section, &file)?))
        })
        .collect()
}

/// For a log: `power`, or `nothing`.
fn names(capabilities: &BTreeSet<Capability>) -> String {
    if capabilities.is_empty() {
        return "nothing".to_owned();
    }
    capabilities.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ")
}
