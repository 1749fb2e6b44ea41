//! Loading the plugins of a configuration, before the first connection.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use plugin::{Capability, Engine, EngineError, EngineSettings, LoadError, Plugin};
use tracing::{info, warn};

use crate::config::Config;

/// Why the plugins of a configuration cannot be loaded.
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
        /// What is wrong with it.
        #[source]
        source: LoadError,
    },
}

impl PluginError {
    /// What to do about it, where one action helps.
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
            PluginError::Load { source, .. } => source.hint().map(str::to_owned),
        }
    }
}

/// Compiles and checks every plugin. Blocks, for seconds where one is compiled
/// for the first time.
pub(crate) fn load(config: &Config) -> Result<BTreeMap<String, Plugin>, PluginError> {
    let engine = Engine::new(&EngineSettings {
        // A few more than may be used: an instance that is dropped goes back to
        // the pool a moment after its permit.
        instances: u32::try_from(config.calls_at_once() + 16).unwrap_or(u32::MAX),
        memory_bytes: config.memory_bytes(),
        cache: config.host.compile_cache.clone(),
        ..EngineSettings::default()
    })
    .map_err(PluginError::Engine)?;
    let mut plugins = BTreeMap::new();
    for (name, section) in &config.plugins {
        let begun = std::time::Instant::now();
        let hits = engine.cache_hits();
        let plugin = engine
            .load_file(name, &section.file, section.settings.to_sandbox())
            .map_err(|source| PluginError::Load { name: name.clone(), source })?;
        let cached = engine.cache_hits() > hits;
        info!(
            plugin = name,
            file = %section.file.display(),
            cached,
            elapsed_ms = begun.elapsed().as_millis(),
            granted = %names(plugin.capabilities()),
            "plugin loaded"
        );
        let unused = section.settings.capabilities() - plugin.capabilities();
        if !unused.is_empty() {
            warn!(plugin = name, granted = %names(&unused), "granted, but not asked for");
        }
        plugins.insert(name.clone(), plugin);
    }
    Ok(plugins)
}

/// For a log: `power`, or `nothing`.
fn names(capabilities: &BTreeSet<Capability>) -> String {
    if capabilities.is_empty() {
        return "nothing".to_owned();
    }
    capabilities.iter().map(|capability| capability.name()).collect::<Vec<_>>().join(", ")
}
