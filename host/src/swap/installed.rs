//! Plugins that are installed from registries.
//!
//! They add to the plugins of `host.toml`, or replace those of the same name. A changed
//! `host.toml` keeps them.

use super::Swap;
use super::loads::Done;
use super::results::answer;
use crate::config::{Config, ConfigError, Configured, PluginSection};

impl Swap {
    /// Adds or replaces an installed plugin; `None` removes it. `done` gets the outcome once the
    /// version is in force.
    pub(super) fn install(&mut self, plugin: String, section: Option<PluginSection>, done: Done) {
        let mut configured = self.configured.clone();
        match section {
            Some(section) => configured.installed.insert(plugin.clone(), section),
            None => configured.installed.remove(&plugin),
        };
        let new = match configured.merged() {
            Ok(new) => new,
            Err(error) => {
                let error = program::chain(&error).to_string();
                answer(vec![done], &plugin, &Err(error));
                return;
            }
        };
        self.configured = configured;
        self.adopt(new);
        let section = self.config.plugins.get(&plugin).cloned();
        match section.filter(|section| self.in_force.get(&plugin) != Some(section)) {
            Some(section) => {
                let slot = self.router.table().slot(&plugin).cloned();
                self.load_ordered(plugin, section, slot, done);
            }
            None => answer(vec![done], &plugin, &Ok("in force".to_owned())),
        }
    }

    /// Returns a configuration of `host.toml` with the installed plugins.
    pub(super) fn with_installed(&mut self, text: Config) -> Result<Config, ConfigError> {
        let configured = Configured { text, installed: self.configured.installed.clone() };
        let new = configured.merged()?;
        self.configured = configured;
        Ok(new)
    }
}
