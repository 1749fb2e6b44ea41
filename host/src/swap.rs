//! Changes of a running host: changed plugin files, a changed configuration, and orders of
//! the operator.
//!
//! The files are checked whenever the [`Watch`] reports an event, and compared with the
//! running versions. A new version is read, compiled and started while the old one still
//! serves calls, and then becomes active. A version that is refused changes nothing. All
//! plugins are loaded concurrently ([`loads`]), so that none waits for another one.
//!
//! A file may be incomplete while it is being written. An invalid file is therefore
//! reported only after it has not changed for a moment. Part of a configuration can be a
//! valid configuration, so a configuration is applied only when its writer has finished.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use program::FileStamp;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::config::{Config, ConfigError, Configured, PluginSection};
use crate::plugins::slot::Changes;
use crate::plugins::{Loader, PluginError};
use crate::router::Router;
use crate::supervision::Pulse;
use keeping::Keeper;
use loads::{Loads, Wanted};
use orders::Order;
use switches::Switches;

pub(crate) use lifecycle::{start, stop, stop_all};
pub(crate) use orders::Operator;
use watch::FileWriter;
pub(crate) use watch::Watch;

mod configuration;
mod first_version;
mod installed;
mod keeping;
mod lifecycle;
mod loads;
mod orders;
mod results;
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
    /// Last valid configuration. Its entries of plugins come into force one by one.
    config: Config,
    /// Last valid text of the configuration, and the plugins from registries.
    configured: Configured,
    /// Entries of plugins in force.
    in_force: BTreeMap<String, PluginSection>,
    /// Error in the text of the configuration, if it was refused.
    text_refused: Option<String>,
    /// Errors of the entries that were refused, by plugin.
    entries_refused: BTreeMap<String, String>,
    configuration: tokio::sync::watch::Sender<ConfigurationState>,
    loads: Loads,
    /// Stamps of the files whose first versions are being loaded.
    first_files: HashMap<String, Option<FileStamp>>,
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
    /// Error in the configuration, if it or the entry of a plugin was refused.
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
    /// Stamp of the file of the subject.
    stamp: Option<FileStamp>,
    /// Time at which the current stamp was first seen.
    since: Instant,
    /// Time without a change after which the subject is checked again.
    rest: Duration,
    /// `true` if the subject was applied or reported, and is not checked again until its
    /// file changes.
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
                Some(order) = self.orders.recv() => self.carry_out(order),
                Some(ended) = self.loads.next_end() => self.load_ended(ended),
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
        let files = self.config.plugins.values().map(|section| section.file.clone());
        files.chain(self.config.file.clone()).collect()
    }

    /// Checks all files, and begins to load changed ones.
    async fn check_files(&mut self) {
        if let Some(path) = self.config.file.clone() {
            self.check_configuration(&path).await;
        }
        for (name, section) in self.config.plugins.clone() {
            self.check_plugin(name, section);
        }
    }

    /// Begins to load the version in a plugin's file, if the file or its entry has changed.
    fn check_plugin(&mut self, plugin: String, section: PluginSection) {
        let slot = self.router.table().slot(&plugin).cloned();
        let stamp = FileStamp::at(&section.file);
        let is_first = slot.as_ref().is_some_and(|slot| slot.is_loading())
            && self.in_force.get(&plugin) == Some(&section)
            && self.first_files.get(&plugin) == Some(&stamp);
        let subject = Subject::Plugin(plugin.clone());
        if is_first
            || !self.is_new(&subject, stamp)
            || self.loads.is_loading_version(&plugin, &section, stamp.as_ref())
        {
            return;
        }
        self.loads.begin(&self.loader, &self.router, Wanted { plugin, section, stamp, slot });
    }

    /// Runs a step that ends within `limit`, plus the time limit for slow files.
    async fn step<T>(&self, limit: Duration, step: impl Future<Output = T>) -> T {
        self.pulse.during(limit + SLOW_FILES, step).await
    }

    /// Returns `true` if the subject has changed or is not settled.
    fn is_new(&mut self, subject: &Subject, stamp: Option<FileStamp>) -> bool {
        match self.seen.get(subject) {
            Some(seen) if seen.stamp == stamp => !seen.settled,
            _ => {
                let seen = Seen { stamp, since: Instant::now(), rest: SETTLED, settled: false };
                self.seen.insert(subject.clone(), seen);
                true
            }
        }
    }

    /// Records a check of a subject. Returns `true` if its file has been unchanged for
    /// [`SETTLED`]; otherwise it is checked again.
    fn settle(&mut self, subject: &Subject) -> bool {
        self.seen.get_mut(subject).is_some_and(|seen| {
            seen.settled = seen.since.elapsed() >= SETTLED;
            seen.settled
        })
    }

    /// Returns `true` if the file of a subject has been unchanged for `rest`.
    fn has_rested(&mut self, subject: &Subject, rest: Duration) -> bool {
        self.seen.get_mut(subject).is_none_or(|seen| {
            seen.rest = rest.max(SETTLED);
            seen.since.elapsed() >= rest
        })
    }

    /// Returns the time of the next check of an unsettled subject. A plugin is checked when
    /// its load has ended.
    fn next_check(&self) -> Option<Instant> {
        let is_loading = |subject: &Subject| match subject {
            Subject::Plugin(name) => self.loads.is_loading(name),
            Subject::Configuration => false,
        };
        let unsettled =
            self.seen.iter().filter(|(subject, seen)| !seen.settled && !is_loading(subject));
        unsettled.map(|(_, seen)| seen.since + seen.rest).min()
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
    fn message(&self) -> String {
        program::chain(self).to_string()
    }

    /// Returns the message for a context that already names the plugin.
    fn without_plugin_name(&self) -> String {
        match self {
            Refused::Plugin(PluginError::Load { source, .. }) => program::chain(source).to_string(),
            Refused::Plugin(PluginError::Digest { source, .. }) => source.to_string(),
            Refused::NotStarted { reason, .. } => reason.clone(),
            Refused::Panicked { .. } => "the compiler panicked".to_owned(),
            other => other.message(),
        }
    }
}
