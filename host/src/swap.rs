//! Changes of a running host: changed plugin files, a changed configuration, and orders of
//! the operator.
//!
//! The files are checked whenever the [`Watch`] reports an event, and compared with the
//! running versions. A new version is read, compiled and started while the old one still
//! serves calls, and then becomes active. A version that is refused changes nothing.
//!
//! A file may be incomplete while it is being written. An invalid file is therefore
//! reported only after it has not changed for a moment. Part of a configuration can be a
//! valid configuration, so a configuration is applied only when its writer has finished.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use plugin::{MAX_DEADLINE, Plugin};
use program::FileStamp;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info};

use crate::config::{Config, ConfigError, PluginSection};
use crate::plugins::slot::{Changes, Loaded};
use crate::plugins::{self, Loader, PluginError};
use crate::router::{PluginSlot, Router};
use crate::supervision::Pulse;
use keeping::Keeper;
use orders::Order;
use switches::Switches;

pub(crate) use lifecycle::stop_all;
pub(crate) use orders::Operator;
use watch::FileWriter;
pub(crate) use watch::Watch;

mod configuration;
mod first_version;
mod keeping;
mod lifecycle;
mod orders;
pub(crate) mod switches;
#[cfg(test)]
mod tests;
mod watch;

/// Time without a change after which a refused file counts as complete.
const SETTLED: Duration = Duration::from_secs(1);

/// Time limit for reading files, after which this task counts as stuck.
const SLOW_FILES: Duration = Duration::from_secs(60);

/// Task that applies changes of files and orders of the operator.
pub(crate) struct Swap {
    loader: Loader,
    router: Arc<Router>,
    changes: Changes,
    /// Configuration in force.
    config: Config,
    /// Configuration that could not be applied because of a plugin.
    pending: Option<Config>,
    configuration: tokio::sync::watch::Sender<ConfigurationState>,
    /// Last checks of all subjects.
    seen: HashMap<Subject, Seen>,
    /// State of the configuration's writer at the last check.
    writer: FileWriter,
    orders: mpsc::Receiver<Order>,
    tasks: JoinSet<()>,
    switches: Arc<Switches>,
    /// `None` if nothing is persisted for the next start.
    keeper: Option<Keeper>,
    pulse: Pulse,
}

/// State of the configuration on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConfigurationState {
    /// Error in the configuration, if it was refused.
    pub(crate) refused: Option<String>,
    /// `true` if some changes take effect only after a restart of the host.
    pub(crate) restart_needed: bool,
}

/// Subject of a check: the configuration, or a plugin with its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Configuration,
    Plugin(String),
}

/// Last check of a subject.
struct Seen {
    /// Stamps of the files of the subject.
    stamps: Vec<Option<FileStamp>>,
    /// Time at which the current stamps were first seen.
    since: Instant,
    /// Time without a change after which the subject is checked again.
    rest: Duration,
    /// `true` if the subject was applied or reported, and is not checked again until its
    /// files change.
    settled: bool,
}

/// Reason for which a file or a configuration is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error("plugin `{plugin}`: {reason}")]
    NotStarted { plugin: String, reason: String },
    #[error("plugin `{plugin}`: the compiler panicked")]
    Panicked { plugin: String },
}

impl Swap {
    /// Loads and starts the plugins, then follows changes until the future is dropped.
    pub(crate) async fn run(mut self, mut watch: Watch) {
        let mut changed = self.changes.subscribe();
        self.start_all();
        self.load_missing();
        loop {
            self.pulse.beat();
            // The files are watched before they are checked, so that no change is missed.
            let files = self.files();
            let (watched, configuration) = (files.clone(), self.config.file.clone());
            let watching = spawn_blocking(move || {
                watch.set(&watched, configuration.as_deref());
                watch
            });
            watch = self
                .step(Duration::ZERO, watching)
                .await
                .expect("watching does not panic and is not cancelled");
            self.writer = watch.writer();
            self.check_files().await;
            self.do_chores();
            self.keep().await;
            self.trim_cache().await;
            if files != self.files() {
                continue;
            }
            let again = self.next_check();
            tokio::select! {
                () = watch.changed() => {}
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                Some(order) = self.orders.recv() => self.carry_out(order).await,
                Ok(()) = changed.changed() => {}
                Some(ended) = self.tasks.join_next() => lifecycle::report_panic(ended),
                () = self.pulse.due() => {}
            }
        }
    }

    /// Removes compiled versions that are no longer needed, once all plugins are loaded.
    async fn trim_cache(&self) {
        let table = self.router.table();
        if !self.loader.is_trim_due() || table.slots().values().any(|slot| slot.is_loading()) {
            return;
        }
        let (loader, plugins) = (self.loader.clone(), table.slots().len());
        // It reports its errors itself.
        self.step(Duration::ZERO, spawn_blocking(move || loader.trim_cache(plugins))).await.ok();
    }

    /// Returns the files of the configuration and of all plugins.
    fn files(&self) -> BTreeSet<PathBuf> {
        let plugins = self.config.plugins.values();
        let pending = self.pending.iter().flat_map(|config| config.plugins.values());
        let files = plugins.chain(pending).map(|section| section.file.clone());
        files.chain(self.config.file.clone()).collect()
    }

    /// Checks all files, and applies changed ones.
    async fn check_files(&mut self) {
        if let Some(path) = self.config.file.clone() {
            self.check_configuration(&path).await;
        }
        for (name, section) in self.config.plugins.clone() {
            self.check_plugin(name, &section).await;
        }
    }

    async fn check_plugin(&mut self, name: String, section: &PluginSection) {
        let slot = self.router.table().slot(&name).cloned();
        let Some(slot) = slot.filter(|slot| !slot.is_loading()) else { return };
        let subject = Subject::Plugin(name);
        if !self.is_new(&subject, vec![FileStamp::at(&section.file)]) {
            return;
        }
        let outcome = self.update(&slot, section).await;
        let settled = self.settle(&subject);
        match outcome {
            Ok(()) => {
                if slot.set_refused(None) {
                    let (plugin, file) = (slot.name(), section.file.display());
                    info!(plugin, %file, "file of the plugin accepted again");
                }
            }
            Err(error) if settled => {
                let (plugin, file, hint) = (slot.name(), section.file.display(), error.hint());
                let error = error.without_plugin_name();
                // The error may already have been logged at the start.
                if slot.set_refused(Some(error.clone())) {
                    error!(plugin, %file, hint, "new version refused, the previous version stays active: {error}");
                }
            }
            Err(_) => {}
        }
    }

    /// Loads and activates the version in a plugin's file if it is new.
    async fn update(&self, slot: &Arc<PluginSlot>, section: &PluginSection) -> Result<(), Refused> {
        let known = Arc::clone(slot);
        let is_known =
            move |digest: &str, section: &PluginSection| known.file_has(digest, &section.settings);
        if let Some(made) = self.load(slot.name(), section, is_known).await? {
            self.start_and_activate(slot, made, section).await?;
        }
        Ok(())
    }

    /// Starts and activates a new version. Returns its number.
    async fn start_and_activate(
        &self,
        slot: &PluginSlot,
        made: Loaded<Plugin>,
        section: &PluginSection,
    ) -> Result<u32, Refused> {
        let plugin = slot.name();
        let before = slot.view().active;
        let digest_before = before.as_ref().map(|before| before.loaded.digest.as_str());
        let start = lifecycle::start(&self.router, &made.plugin, digest_before);
        self.step(MAX_DEADLINE, start)
            .await
            .map_err(|reason| Refused::NotStarted { plugin: plugin.to_owned(), reason })?;
        let digest = made.digest.clone();
        let version = slot.activate(made, section.patience);
        let before = before.map_or(0, |before| before.number);
        info!(plugin, version, digest, before, "plugin swapped");
        Ok(version)
    }

    /// Reads and compiles a version on a blocking thread. Returns `None` if it is known.
    async fn load(
        &self,
        name: &str,
        section: &PluginSection,
        is_known: impl FnOnce(&str, &PluginSection) -> bool + Send + 'static,
    ) -> Result<Option<Loaded<Plugin>>, Refused> {
        let limit = section.settings.compile_time();
        let (loader, plugin, section) = (self.loader.clone(), name.to_owned(), section.clone());
        let loaded = spawn_blocking(move || {
            let file = plugins::read(&plugin, &section)?;
            if is_known(&file.digest, &section) {
                return Ok(None);
            }
            loader.load(&plugin, &section, &file).map(Some)
        });
        match self.step(limit, loaded).await {
            Ok(made) => Ok(made?),
            Err(_) => Err(Refused::Panicked { plugin: name.to_owned() }),
        }
    }

    /// Runs a step that ends within `limit`, plus the time limit for slow files.
    async fn step<T>(&self, limit: Duration, step: impl Future<Output = T>) -> T {
        self.pulse.during(limit + SLOW_FILES, step).await
    }

    /// Returns `true` if the subject has changed or is not settled.
    fn is_new(&mut self, subject: &Subject, stamps: Vec<Option<FileStamp>>) -> bool {
        match self.seen.get(subject) {
            Some(seen) if seen.stamps == stamps => !seen.settled,
            _ => {
                let seen = Seen { stamps, since: Instant::now(), rest: SETTLED, settled: false };
                self.seen.insert(subject.clone(), seen);
                true
            }
        }
    }

    /// Records a check of a subject. Returns `true` if its files have been unchanged for
    /// [`SETTLED`]; otherwise they are checked again.
    fn settle(&mut self, subject: &Subject) -> bool {
        self.seen.get_mut(subject).is_some_and(|seen| {
            seen.settled = seen.since.elapsed() >= SETTLED;
            seen.settled
        })
    }

    /// Returns `true` if the files of a subject have been unchanged for `rest`.
    fn has_rested(&mut self, subject: &Subject, rest: Duration) -> bool {
        self.seen.get_mut(subject).is_none_or(|seen| {
            seen.rest = rest.max(SETTLED);
            seen.since.elapsed() >= rest
        })
    }

    /// Returns the time of the next check of an unsettled subject.
    fn next_check(&self) -> Option<Instant> {
        let unsettled = self.seen.values().filter(|seen| !seen.settled);
        unsettled.map(|seen| seen.since + seen.rest).min()
    }
}

impl Refused {
    /// Returns a hint on how to fix the error, if there is one.
    fn hint(&self) -> Option<String> {
        match self {
            Refused::Plugin(error) => error.hint(),
            _ => None,
        }
    }

    /// Returns the error and its causes in one line.
    fn message(self) -> String {
        program::chain(&self).to_string()
    }

    /// Returns the message for a context that already names the plugin.
    fn without_plugin_name(self) -> String {
        match self {
            Refused::Plugin(PluginError::Load { source, .. }) => {
                program::chain(&source).to_string()
            }
            Refused::Plugin(PluginError::Digest { source, .. }) => source.to_string(),
            Refused::NotStarted { reason, .. } => reason,
            Refused::Panicked { .. } => "the compiler panicked".to_owned(),
            other => other.message(),
        }
    }
}
