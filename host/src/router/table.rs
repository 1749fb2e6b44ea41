//! Table of methods and their plugins, replaced as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use plugin::Capability;
use protocol::id::MethodName;

use super::PluginSlot;
use super::idempotency::Idempotency;
use crate::config::PluginSection;

/// The plugins of a configuration, in their places.
pub(crate) struct Table {
    named: HashMap<MethodName, Arc<PluginSlot>>,
    any: Option<Arc<PluginSlot>>,
    slots: BTreeMap<String, Arc<PluginSlot>>,
    /// Of the plugins whose methods may be repeated.
    idempotent: HashMap<String, Idempotency>,
}

impl Table {
    /// Routes methods as the sections say; each has its slot.
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
            // A repeat after the reboot that it asked for would ask for another one.
            let durable = section.settings.capabilities().contains(&Capability::Power);
            Some((name.clone(), Idempotency { field, time, durable }))
        });
        Table { named, any, idempotent: idempotent.collect(), slots }
    }

    /// Returns the plugin that serves a method.
    pub(crate) fn serving(&self, method: &MethodName) -> Option<&Arc<PluginSlot>> {
        self.named.get(method).or(self.any.as_ref())
    }

    pub(crate) fn slot(&self, plugin: &str) -> Option<&Arc<PluginSlot>> {
        self.slots.get(plugin)
    }

    /// Returns the settings for repeated calls of a plugin, if there are any.
    pub(super) fn idempotency(&self, plugin: &str) -> Option<&Idempotency> {
        self.idempotent.get(plugin)
    }

    pub(crate) fn slots(&self) -> &BTreeMap<String, Arc<PluginSlot>> {
        &self.slots
    }
}
