//! Application of a changed configuration, either completely or not at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plugin::{MAX_DEADLINE, Plugin};
use program::FileStamp;
use tracing::{error, info, warn};

use super::{Refused, Subject, Swap, lifecycle};
use crate::config::{Config, PluginSection};
use crate::plugins::slot::{Loaded, Slot};
use crate::router::{PluginSlot, Table};

/// Plugin of a new configuration that is not yet applied.
enum Next {
    /// Slot whose running version stays.
    Same(Arc<PluginSlot>),
    /// Version for an existing slot or, if there is none, for a new one.
    New(Loaded<Plugin>, Option<Arc<PluginSlot>>),
}

impl Swap {
    /// Checks the configuration file, and applies a change.
    pub(super) async fn check_configuration(&mut self, path: &Path) {
        let pending = self.pending.iter().flat_map(|config| config.plugins.values());
        let files = std::iter::once(path).chain(pending.map(|section| section.file.as_path()));
        let stamps = files.map(FileStamp::at).collect();
        if !self.is_new(&Subject::Configuration, stamps) {
            return;
        }
        let new = Config::read(path);
        if !self.has_rested(&Subject::Configuration, self.rest_before(new.as_ref().ok())) {
            return;
        }
        let outcome = match new {
            Ok(new) => self.apply_or_postpone(new).await,
            Err(error) => Err(error.into()),
        };
        let settled = self.settle(&Subject::Configuration);
        match outcome {
            Ok(()) if self.configuration.borrow().refused.is_some() => {
                info!(file = %path.display(), "configuration accepted again");
                self.configuration.send_modify(|state| state.refused = None);
                self.changes.send_replace(());
            }
            Ok(()) => {}
            Err(error) if settled => {
                let (file, hint) = (path.display(), error.hint());
                let error = error.message();
                error!(%file, hint, "configuration refused, the previous one stays in force: {error}");
                self.configuration.send_modify(|state| state.refused = Some(error));
                self.changes.send_replace(());
            }
            Err(_) => {}
        }
    }

    /// Returns the time for which the file must be unchanged before it is applied or, if it
    /// is invalid (`new` is `None`), refused.
    fn rest_before(&self, new: Option<&Config>) -> Duration {
        let Some(new) = new else { return self.writer.rest(false) };
        if new.plugins == self.config.plugins && self.config.needs_no_restart_for(new) {
            return Duration::ZERO;
        }
        let stays = |name| new.plugins.contains_key(name);
        self.writer.rest(!self.config.plugins.keys().all(stays))
    }

    /// Applies the parts that need no restart. Keeps the configuration as pending if a plugin
    /// prevents that.
    async fn apply_or_postpone(&mut self, new: Config) -> Result<(), Refused> {
        let restart_needed = !self.config.needs_no_restart_for(&new);
        if restart_needed && !self.configuration.borrow().restart_needed {
            warn!("changes under [hub] and [host] take effect after a restart of the host");
        }
        self.configuration.send_modify(|state| state.restart_needed = restart_needed);
        if new.plugins == self.config.plugins {
            self.pending = None;
            return Ok(());
        }
        let outcome = self.apply_plugins(&new).await;
        self.pending = outcome.is_err().then_some(new);
        outcome
    }

    /// Loads and starts all new versions, then activates them and replaces the table.
    async fn apply_plugins(&mut self, new: &Config) -> Result<(), Refused> {
        let mut plugins = BTreeMap::new();
        for (name, section) in &new.plugins {
            plugins.insert(name.clone(), self.next(name, section).await?);
        }
        self.start_new(&plugins).await?;

        let mut slots = BTreeMap::new();
        for (name, next) in plugins {
            let patience = new.plugins[&name].patience;
            let slot = match next {
                Next::Same(slot) => {
                    slot.set_patience(patience);
                    slot
                }
                Next::New(made, Some(slot)) => {
                    slot.activate(made, patience);
                    slot
                }
                Next::New(made, None) => {
                    let slot = Slot::new(&name, made, patience, self.changes.clone());
                    self.switches.apply(&slot);
                    Arc::new(slot)
                }
            };
            slots.insert(name, slot);
        }
        let before = self.router.set_table(Table::new(&new.plugins, slots));
        for (name, slot) in before.slots() {
            if !new.plugins.contains_key(name) {
                slot.remove();
                self.do_chores_of(slot);
            }
        }
        let changed = |(name, section)| new.plugins.get(name) != Some(section);
        for (name, _) in self.config.plugins.iter().filter(|section| changed(*section)) {
            self.seen.remove(&Subject::Plugin(name.clone()));
        }
        let plugins: Vec<_> = new.plugins.keys().collect();
        info!(?plugins, "configuration changed");
        self.config.plugins = new.plugins.clone();
        self.changes.send_replace(());
        Ok(())
    }

    /// Loads the version that a plugin of the new configuration needs.
    async fn next(&self, name: &str, section: &PluginSection) -> Result<Next, Refused> {
        let slot = self.router.table().slot(name).cloned();
        let Some(slot) = slot else {
            let made = self.load(name, section, |_, _| false).await?;
            return Ok(Next::New(made.expect("no version is known"), None));
        };
        let before = &self.config.plugins[name];
        if before.file == section.file
            && before.sha256 == section.sha256
            && before.settings == section.settings
        {
            return Ok(Next::Same(slot));
        }
        let known = Arc::clone(&slot);
        let is_known =
            move |digest: &str, section: &PluginSection| known.knows(digest, &section.settings);
        let made = self.load(name, section, is_known).await?;
        Ok(made.map_or(Next::Same(Arc::clone(&slot)), |made| Next::New(made, Some(slot))))
    }

    /// Starts the new versions. If one of them does not start, stops the others.
    async fn start_new(&self, plugins: &BTreeMap<String, Next>) -> Result<(), Refused> {
        let mut started: Vec<&Plugin> = Vec::new();
        for (name, next) in plugins {
            let Next::New(made, slot) = next else { continue };
            let before = slot.as_ref().and_then(|slot| slot.view().active);
            let before = before.map(|version| version.loaded.digest.clone());
            let start = lifecycle::start(&self.router, &made.plugin, before.as_deref());
            match self.step(MAX_DEADLINE, start).await {
                Ok(()) => started.push(&made.plugin),
                Err(reason) => {
                    for plugin in started {
                        self.step(MAX_DEADLINE, lifecycle::stop(&self.router, plugin)).await;
                    }
                    return Err(Refused::NotStarted { plugin: name.clone(), reason });
                }
            }
        }
        Ok(())
    }
}
