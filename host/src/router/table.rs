//! Table of methods and their plugins, which is only replaced as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use plugin::Capability;
use protocol::id::MethodName;

use super::PluginSlot;
use super::idempotency::Idempotency;
use crate::config::PluginSection;

/// Plugins of a configuration, and the methods that they serve.
pub(crate) struct Table {
    named: HashMap<MethodName, Arc<PluginSlot>>,
    /// The plugin that serves all other methods.
    any: Option<Arc<PluginSlot>>,
    /// All plugins by name.
    slots: BTreeMap<String, Arc<PluginSlot>>,
    /// The settings for repeated calls, by plugin.
    idempotent: HashMap<String, Idempotency>,
}

impl Table {
    /// Creates the table for a configuration. `slots` contains a slot for every section.
    pub(crate) fn new(
        sections: &BTreeMap<String, PluginSection>,
        slots: BTreeMap<String, Arc<PluginSlot>>,
    ) -> Table {
        let mut named = HashMap::new();
        let mut any = None;
        for (name, section) in sections {
            let slot = &slots[name];
            named.extend(section.methods.iter().map(|method| (method.clone(), Arc::clone(slot))));
            if section.any_method {
                any = Some(Arc::clone(slot));
            }
        }
        let idempotent = sections.iter().filter_map(|(name, section)| {
            let field = section.idempotency_key.clone()?;
            let time = section.idempotency_time;
            // A repeat of a call that has rebooted the machine must not reboot it again.
            let durable = section.settings.capabilities().contains(&Capability::Power);
            Some((name.clone(), Idempotency { field, time, durable }))
        });
        Table { named, any, idempotent: idempotent.collect(), slots }
    }

    /// Returns the plugin that serves a method.
    pub(crate) fn serving(&self, method: &MethodName) -> Option<&Arc<PluginSlot>> {
        self.named.get(method).or(self.any.as_ref())
    }

    /// Returns the slot of a plugin.
    pub(crate) fn slot(&self, plugin: &str) -> Option<&Arc<PluginSlot>> {
        self.slots.get(plugin)
    }

    /// Returns the settings for repeated calls of a plugin, if there are any.
    pub(super) fn idempotency(&self, plugin: &str) -> Option<&Idempotency> {
        self.idempotent.get(plugin)
    }

    /// Returns the slots of all plugins, by name.
    pub(crate) fn slots(&self) -> &BTreeMap<String, Arc<PluginSlot>> {
        &self.slots
    }
}
