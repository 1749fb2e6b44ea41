//! Table of methods and their plugins, which is only replaced as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use plugin::Capability;
use protocol::id::MethodName;

use super::PluginSlot;
use super::idempotency::Idempotency;
use crate::config::PluginSection;
use crate::plugins::slot::Meter;

/// The plugin that serves a method, and the meter of the method.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) slot: Arc<PluginSlot>,
    pub(crate) meter: Arc<Meter>,
}

/// The name in metrics of all methods that no plugin names.
const ANY: &str = "*";

impl Route {
    fn new(slot: &Arc<PluginSlot>, method: &str) -> Route {
        Route { slot: Arc::clone(slot), meter: slot.meter(method) }
    }

    fn named(slot: &Arc<PluginSlot>, method: &MethodName) -> (MethodName, Route) {
        (method.clone(), Route::new(slot, method.as_str()))
    }
}

/// Plugins of a configuration, and the methods that they serve.
pub(crate) struct Table {
    named: HashMap<MethodName, Route>,
    /// The plugin that serves all other methods.
    any: Option<Route>,
    /// All plugins by name.
    slots: BTreeMap<String, Arc<PluginSlot>>,
    /// The settings for repeated calls, by plugin.
    idempotent: HashMap<String, Idempotency>,
    /// The declared shortest times of methods, by plugin.
    min_times: HashMap<String, BTreeMap<String, Duration>>,
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
            named.extend(section.methods.iter().map(|method| Route::named(slot, method)));
            if section.any_method {
                any = Some(Route::new(slot, ANY));
            }
        }
        let idempotent = sections.iter().filter_map(|(name, section)| {
            let field = section.idempotency_key.clone()?;
            let time = section.idempotency_time;
            // A repeat of a call that has rebooted the machine must not reboot it again.
            let durable = section.settings.capabilities().contains(&Capability::Power);
            Some((name.clone(), Idempotency { field, time, durable }))
        });
        let declared = sections.iter().filter(|(_, section)| !section.min_times.is_empty());
        let min_times = declared.map(|(name, section)| (name.clone(), section.min_times.clone()));
        let (idempotent, min_times) = (idempotent.collect(), min_times.collect());
        Table { named, any, idempotent, min_times, slots }
    }

    /// Creates the table that follows this one while the entries of a configuration come into
    /// force one by one. `in_force` has an entry for every slot: the one of `wanted`, or its
    /// previous one. A method stays with its plugin until the plugin that `wanted` names for it
    /// is ready.
    pub(crate) fn next(
        &self,
        wanted: &BTreeMap<String, PluginSection>,
        in_force: &BTreeMap<String, PluginSection>,
        slots: BTreeMap<String, Arc<PluginSlot>>,
    ) -> Table {
        let mut table = Table::new(in_force, slots);
        let is_ready =
            |(name, section): &(&String, &PluginSection)| in_force.get(*name) == Some(*section);
        let (ready, later): (Vec<_>, Vec<_>) = wanted.iter().partition(is_ready);
        for (name, section) in ready {
            let slot = &table.slots[name];
            table.named.extend(section.methods.iter().map(|method| Route::named(slot, method)));
            if section.any_method {
                table.any = Some(Route::new(slot, ANY));
            }
        }
        for (_, section) in later {
            for method in &section.methods {
                if let Some(route) = self.named.get(method) {
                    table.named.entry(method.clone()).or_insert_with(|| route.clone());
                }
            }
            if section.any_method && table.any.is_none() {
                table.any.clone_from(&self.any);
            }
        }
        table
    }

    /// Returns the plugin that serves a method.
    pub(crate) fn serving(&self, method: &MethodName) -> Option<&Arc<PluginSlot>> {
        self.route(method).map(|route| &route.slot)
    }

    /// Returns the plugin that serves a method, and the meter of the method.
    pub(crate) fn route(&self, method: &MethodName) -> Option<&Route> {
        self.named.get(method).or(self.any.as_ref())
    }

    /// Returns the configured name of a method, which is `*` if no plugin names it.
    pub(super) fn route_name<'a>(&self, method: &'a MethodName) -> &'a str {
        if self.named.contains_key(method) { method.as_str() } else { ANY }
    }

    /// Returns the name of each method and its route, sorted by the names of the plugin and of
    /// the method. The last method of a plugin may stand for those that no plugin names.
    pub(crate) fn routes(&self) -> Vec<(&str, &Route)> {
        let named = self.named.iter().map(|(method, route)| (method.as_str(), route));
        let mut routes: Vec<_> = named.chain(self.any.iter().map(|route| (ANY, route))).collect();
        routes.sort_by_key(|(method, route)| (route.slot.name(), *method == ANY, *method));
        routes
    }

    /// Returns the slot of a plugin.
    pub(crate) fn slot(&self, plugin: &str) -> Option<&Arc<PluginSlot>> {
        self.slots.get(plugin)
    }

    /// Returns the settings for repeated calls of a plugin, if there are any.
    pub(super) fn idempotency(&self, plugin: &str) -> Option<&Idempotency> {
        self.idempotent.get(plugin)
    }

    /// Returns the declared shortest time of a method of a plugin, or zero if there is none.
    pub(super) fn min_time(&self, plugin: &str, method: &MethodName) -> Duration {
        let declared = self.min_times.get(plugin).and_then(|times| times.get(method.as_str()));
        declared.copied().unwrap_or_default()
    }

    /// Returns the slots of all plugins, by name.
    pub(crate) fn slots(&self) -> &BTreeMap<String, Arc<PluginSlot>> {
        &self.slots
    }
}
