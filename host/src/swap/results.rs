//! Results of loads: a plugin with a new version, or a refused file or entry.

use std::sync::Arc;

use plugin::Plugin;
use program::FileStamp;
use tracing::{error, info};

use super::loads::{Done, LoadEnd, Outcome};
use super::{Refused, Subject, Swap, Wanted, lifecycle};
use crate::config::PluginSection;
use crate::plugins::slot::{Loaded, Slot};
use crate::router::PluginSlot;

impl Swap {
    /// Applies the outcome of a load, and answers the orders that have waited for it.
    pub(super) fn load_ended(&mut self, mut ended: LoadEnd) {
        if let Some(wanted) = self.loads.record(&mut ended) {
            // The file may have changed once more, and the plugin may have a slot by now.
            let (stamp, slot) = (FileStamp::at(&wanted.section.file), self.slot(&wanted.plugin));
            self.loads.begin(&self.loader, &self.router, Wanted { stamp, slot, ..wanted });
        }
        let LoadEnd { wanted, outcome, orders, is_newest, .. } = ended;
        let Wanted { plugin, section, slot, .. } = wanted;
        let line = match outcome {
            Ok(outcome) => {
                let line = describe(&outcome, slot.as_deref());
                self.take_over(&plugin, section, slot, outcome, is_newest);
                Ok(line)
            }
            Err(error) if is_newest => {
                let line = error.without_plugin_name();
                self.refuse(&plugin, &section, &error);
                Err(line)
            }
            Err(_) => return,
        };
        answer(orders, &plugin, &line);
    }

    /// Puts the entry of a plugin into force with the version that was loaded for it.
    pub(super) fn take_over(
        &mut self,
        plugin: &str,
        section: PluginSection,
        slot: Option<Arc<PluginSlot>>,
        outcome: Outcome,
        is_newest: bool,
    ) {
        let is_wanted = self.config.plugins.contains_key(plugin);
        match (outcome, slot) {
            (Outcome::Superseded, _) => return,
            // The entry in force may be a newer one.
            (Outcome::Known, _) if !is_newest => return,
            (Outcome::Added(made), _) if is_newest && is_wanted => {
                self.put_in_force(plugin, section, Some(*made));
            }
            (Outcome::Added(made), _) => {
                let router = Arc::clone(&self.router);
                self.tasks.spawn(async move { lifecycle::stop(&router, &made.plugin).await });
                return;
            }
            // The plugin was removed after its last version had begun to start.
            (_, Some(slot)) if self.slot(plugin).is_none_or(|now| !Arc::ptr_eq(&now, &slot)) => {
                slot.remove();
                self.do_chores_of(&slot);
                return;
            }
            _ => self.put_in_force(plugin, section, None),
        }
        if is_newest {
            self.settle(&Subject::Plugin(plugin.to_owned()));
            if let Some(slot) = self.slot(plugin)
                && slot.set_refused(None)
            {
                let file = self.config.plugins.get(plugin).map(|section| section.file.display());
                let file = file.map(tracing::field::display);
                info!(plugin, file, "file of the plugin accepted again");
            }
        }
    }

    /// Records that a file or an entry was refused, once the file is complete.
    fn refuse(&mut self, plugin: &str, section: &PluginSection, error: &Refused) {
        if !self.settle(&Subject::Plugin(plugin.to_owned())) {
            return;
        }
        let (file, hint) = (section.file.display(), error.hint());
        if self.in_force.get(plugin) == Some(section) {
            let error = error.without_plugin_name();
            // The error may already have been logged at the start.
            if self.slot(plugin).is_some_and(|slot| slot.set_refused(Some(error.clone()))) {
                error!(plugin, %file, hint, "new version refused, the previous version stays active: {error}");
            }
            return;
        }
        let reason = error.without_plugin_name();
        let is_new = self.entries_refused.insert(plugin.to_owned(), error.message());
        if is_new.as_ref() != self.entries_refused.get(plugin) {
            error!(plugin, %file, hint, "entry of the plugin refused, the rest of the configuration takes effect: {reason}");
        }
        self.publish_refusals();
    }

    /// Puts the entry of a plugin into force. `made` is its first version, if it is new.
    pub(super) fn put_in_force(
        &mut self,
        plugin: &str,
        section: PluginSection,
        made: Option<Loaded<Plugin>>,
    ) {
        let added = made.map(|made| {
            let slot = Slot::new(plugin, made, section.patience, self.changes.clone());
            self.switches.apply(&slot);
            info!(plugin, "plugin added");
            Arc::new(slot)
        });
        if added.is_none() && self.in_force.get(plugin) == Some(&section) {
            return;
        }
        if let Some(slot) = self.slot(plugin) {
            slot.set_patience(section.patience);
        }
        self.in_force.insert(plugin.to_owned(), section);
        self.entries_refused.remove(plugin);
        self.route(added);
        self.publish_refusals();
    }

    fn slot(&self, plugin: &str) -> Option<Arc<PluginSlot>> {
        self.router.table().slot(plugin).cloned()
    }
}

/// Describes the outcome of an order of the operator.
fn describe(outcome: &Outcome, slot: Option<&PluginSlot>) -> String {
    match outcome {
        Outcome::Active(version) => format!("version {version} is active"),
        Outcome::Known | Outcome::Added(_) | Outcome::Superseded => {
            let active = slot.and_then(|slot| slot.view().active);
            let number = active.map_or(0, |active| active.number);
            format!("version {number} of this file is already active")
        }
    }
}

/// Answers orders about a plugin.
pub(super) fn answer(orders: Vec<Done>, plugin: &str, line: &Result<String, String>) {
    for done in orders {
        done.send(plugin, line.clone());
    }
}
