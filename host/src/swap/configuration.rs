//! Application of a changed configuration.
//!
//! The text is valid or refused as a whole: a refused one changes nothing. The entry of each
//! plugin in a valid text takes over on its own, as soon as its version is ready. Until then
//! its previous entry stays in force, and its methods stay with the plugin that had them.
//! Plugins that the text no longer names are removed last, once all of its entries are in
//! force, so that a method never loses its plugin to a successor that does not load.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use program::FileStamp;
use tracing::{error, info, warn};

use super::{Subject, Swap};
use crate::config::{Config, PluginSection};
use crate::router::PluginSlot;

impl Swap {
    /// Checks the configuration file, and applies a change.
    pub(super) async fn check_configuration(&mut self, path: &Path) {
        if !self.is_new(&Subject::Configuration, FileStamp::at(path)) {
            return;
        }
        let new = Config::read(path).and_then(|text| self.with_installed(text));
        if !self.has_rested(&Subject::Configuration, self.rest_before(new.as_ref().ok())) {
            return;
        }
        let outcome = new.map(|new| self.adopt(new));
        let settled = self.settle(&Subject::Configuration);
        match outcome {
            Ok(()) => self.text_refused = None,
            Err(error) if settled => {
                let file = path.display();
                let error = program::chain(&error).to_string();
                error!(%file, "configuration refused, the previous one stays in force: {error}");
                self.text_refused = Some(error);
            }
            Err(_) => return,
        }
        self.publish_refusals();
    }

    /// Returns the time for which the file must be unchanged before it is applied or, if it
    /// is invalid (`new` is `None`), refused.
    fn rest_before(&self, new: Option<&Config>) -> Duration {
        let Some(new) = new else { return self.writer.rest(false) };
        if new.plugins == self.config.plugins && self.config.needs_no_restart_for(new) {
            return Duration::ZERO;
        }
        let stays = |name| new.plugins.contains_key(name);
        self.writer.rest(!self.in_force.keys().all(stays))
    }

    /// Adopts a valid configuration: puts the entries that need no new version into force,
    /// and lets the others be loaded.
    pub(super) fn adopt(&mut self, new: Config) {
        let restart_needed = !self.config.needs_no_restart_for(&new);
        if restart_needed && !self.configuration.borrow().restart_needed {
            warn!(
                "changes under [hub], [host] and [fleet], and of images, take effect after a restart of the host"
            );
        }
        self.configuration.send_modify(|state| state.restart_needed = restart_needed);
        if new.plugins == self.config.plugins {
            return;
        }
        let before = std::mem::replace(&mut self.config.plugins, new.plugins);
        let plugins = &self.config.plugins;
        self.entries_refused.retain(|name, _| plugins.get(name) == before.get(name));
        for (name, section) in &before {
            if plugins.get(name) != Some(section) {
                self.seen.remove(&Subject::Plugin(name.clone()));
            }
            if !plugins.contains_key(name) {
                self.loads.cancel(name);
            }
        }
        let table = self.router.table();
        for (name, section) in plugins {
            if let Some(in_force) = self.in_force.get_mut(name)
                && is_same_version(in_force, section)
            {
                in_force.clone_from(section);
                table.slot(name).inspect(|slot| slot.set_patience(section.patience));
            }
        }
        self.route(None);
    }

    /// Returns `true` if all entries of the configuration, and no others, are in force.
    pub(super) fn is_in_force(&self) -> bool {
        self.in_force == self.config.plugins
    }

    /// Routes the methods to the plugins by the entries in force, with a plugin that is added.
    /// Removes the plugins that the configuration no longer names once all of its entries are
    /// in force.
    pub(super) fn route(&mut self, added: Option<Arc<PluginSlot>>) {
        let in_force = &self.in_force;
        let is_ready = |(name, section)| in_force.get(name) == Some(section);
        let is_complete = self.config.plugins.iter().all(is_ready);
        let before = self.router.table();
        let mut slots = before.slots().clone();
        slots.extend(added.map(|slot| (slot.name().to_owned(), slot)));
        let mut removed = BTreeMap::new();
        if is_complete {
            let wanted = &self.config.plugins;
            self.in_force.retain(|name, _| wanted.contains_key(name));
            removed = slots.extract_if(.., |name, _| !wanted.contains_key(name)).collect();
        }
        self.router.set_table(before.next(&self.config.plugins, &self.in_force, slots));
        for (name, slot) in removed {
            slot.remove();
            self.do_chores_of(&slot);
            self.loads.cancel(&name);
            self.first_files.remove(&name);
        }
        if is_complete {
            let plugins: Vec<_> = self.config.plugins.keys().collect();
            info!(?plugins, "configuration changed");
        }
        self.changes.send_replace(());
    }

    /// Publishes the reasons why the configuration is not completely in force.
    pub(super) fn publish_refusals(&mut self) {
        let entries = (!self.entries_refused.is_empty()).then(|| {
            self.entries_refused.values().map(String::as_str).collect::<Vec<_>>().join("; ")
        });
        let refused = self.text_refused.clone().or(entries);
        let is_changed = self.configuration.send_if_modified(|state| {
            let is_changed = state.refused != refused;
            state.refused.clone_from(&refused);
            is_changed
        });
        if is_changed {
            if refused.is_none() {
                let file = self.config.file.as_deref().map(|file| file.display().to_string());
                info!(file, "configuration accepted again");
            }
            self.changes.send_replace(());
        }
    }
}

/// Returns `true` if two entries have the same file and settings, so that they have the same
/// version.
fn is_same_version(one: &PluginSection, other: &PluginSection) -> bool {
    one.file == other.file && one.sha256 == other.sha256 && one.settings == other.settings
}
