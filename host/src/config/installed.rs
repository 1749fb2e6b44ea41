//! A configuration with plugins that were installed from registries.

use std::collections::BTreeMap;

use super::{Config, ConfigError, PluginSection, check_methods};

/// Configuration of `host.toml`, and the plugins that were installed from registries.
#[derive(Debug, Clone)]
pub(crate) struct Configured {
    pub(crate) text: Config,
    pub(crate) installed: BTreeMap<String, PluginSection>,
}

impl Configured {
    /// Returns the configuration with all plugins. An installed one replaces that of the same
    /// name.
    pub(crate) fn merged(&self) -> Result<Config, ConfigError> {
        let mut config = self.text.clone();
        let installed = self.installed.iter();
        config.plugins.extend(installed.map(|(name, section)| (name.clone(), section.clone())));
        check_methods(config.plugins.iter())?;
        Ok(config)
    }
}

impl From<Config> for Configured {
    fn from(text: Config) -> Configured {
        Configured { text, installed: BTreeMap::new() }
    }
}
