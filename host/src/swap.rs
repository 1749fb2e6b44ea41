//! Changes of a running host: a changed plugin file, a changed configuration, an order
//! of the operator.
//!
//! It checks the files whenever the [`Watch`] reports an event, and compares them with
//! the running versions. A new version is read whole, compiled beside the running one, started, and
//! only then takes the calls; a version that is refused changes nothing. A refused file
//! is reported only when it has not changed for a moment: until then it may be half
//! written. The half of a configuration may be right, so that one is taken when its
//! writer has finished.

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
use crate::plugins::slot::{Changes, Made};
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

mod arrival;
mod configuration;
mod keeping;
mod lifecycle;
mod orders;
pub(crate) mod switches;
#[cfg(test)]
mod tests;
mod watch;

/// Time without change after which a refused file counts as whole.
const SETTLED: Duration = Duration::from_secs(1);

/// Time that reading a file may take before the swap counts as stuck.
const SLOW_FILES: Duration = Duration::from_secs(60);

pub(crate) struct Swap {
    loader: Loader,
    router: Arc<Router>,
    changes: Changes,
    /// Configuration in force.
    config: Config,
    /// Configuration that could not be applied because of a plugin.
    pending: Option<Config>,
    standing: tokio::sync::watch::Sender<Standing>,
    seen: HashMap<Subject, Seen>,
    /// Writer of the configuration, at the last check.
    writer: FileWriter,
    orders: mpsc::Receiver<Order>,
    tasks: JoinSet<()>,
    switches: Arc<Switches>,
    /// `None`: nothing is kept for the next start.
    keeper: Option<Keeper>,
    pulse: Pulse,
}

/// State of the configuration on disk: whether it is in force, and if not, why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Reason why it is not in force.
    pub(crate) refused: Option<String>,
    /// Parts of it are in force only when the host is started again.
    pub(crate) restart_needed: bool,
}

/// Subject of a check: the configuration, or a plugin by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Subject {
    Configuration,
    Plugin(String),
}

/// Stamps of the files of a subject at the last check.
struct Seen {
    stamps: Vec<Option<FileStamp>>,
    since: Instant,
    /// Time without a change after which it is applied.
    rest: Duration,
    /// Applied or reported, and not checked again before they change.
    settled: bool,
}

/// Reason why a file or a configuration is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error("plugin `{plugin}`: {why}")]
    NotStarted { plugin: String, why: String },
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
            // Watched before the check, so that no change falls in between.
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
            self.look().await;
            self.do_chores();
            self.keep().await;
            if files != self.files() {
                continue;
            }
            let again = self.next_look();
            tokio::select! {
                () = watch.stirred() => {}
                () = sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
                Some(order) = self.orders.recv() => self.obey(order).await,
                Ok(()) = changed.changed() => {}
                Some(ended) = self.tasks.join_next() => lifecycle::joined(ended),
                () = self.pulse.due() => {}
            }
        }
    }

    /// Returns all files that decide what runs.
    fn files(&self) -> BTreeSet<PathBuf> {
        let plugins = self.config.plugins.values();
        let pending = self.pending.iter().flat_map(|config| config.plugins.values());
        let files = plugins.chain(pending).map(|section| section.file.clone());
        files.chain(self.config.file.clone()).collect()
    }

    async fn look(&mut self) {
        if let Some(path) = self.config.file.clone() {
            self.look_at_configuration(&path).await;
        }
        for (name, section) in self.config.plugins.clone() {
            self.look_at_plugin(name, &section).await;
        }
    }

    async fn look_at_plugin(&mut self, name: String, section: &PluginSection) {
        let slot = self.router.table().slot(&name).cloned();
        let Some(slot) = slot.filter(|slot| !slot.is_loading()) else { return };
        let subject = Subject::Plugin(name);
        if !self.is_new(&subject, vec![FileStamp::at(&section.file)]) {
            return;
        }
        let outcome = self.take(&slot, section).await;
        let settled = self.settle(&subject);
        match outcome {
            Ok(()) => drop(slot.set_refused(None)),
            Err(error) if settled => {
                let (plugin, file, hint) = (slot.name(), section.file.display(), error.hint());
                let error = error.of_the_plugin();
                // At a start it may have been logged already.
                if slot.set_refused(Some(error.clone())) {
                    error!(plugin, %file, hint, "new version refused, the one before stays: {error}");
                }
            }
            Err(_) => {}
        }
    }

    /// Loads and activates the version in a plugin's file, if it is new.
    async fn take(&self, slot: &Arc<PluginSlot>, section: &PluginSection) -> Result<(), Refused> {
        let known = Arc::clone(slot);
        let is_known =
            move |digest: &str, section: &PluginSection| known.knows(digest, &section.settings);
        if let Some(made) = self.load(slot.name(), section, is_known).await? {
            self.start_and_activate(slot, made, section).await?;
        }
        Ok(())
    }

    /// Starts a new version, which then takes the calls.
    async fn start_and_activate(
        &self,
        slot: &PluginSlot,
        made: Made<Plugin>,
        section: &PluginSection,
    ) -> Result<u32, Refused> {
        let plugin = slot.name();
        let before = slot.view().active;
        let digest_before = before.as_ref().map(|before| before.made.digest.as_str());
        let start = lifecycle::start(&self.router, &made.plugin, digest_before);
        self.step(MAX_DEADLINE, start)
            .await
            .map_err(|why| Refused::NotStarted { plugin: plugin.to_owned(), why })?;
        let digest = made.digest.clone();
        let version = slot.activate(made, section.patience);
        let before = before.map_or(0, |before| before.number);
        info!(plugin, version, digest, before, "plugin swapped");
        Ok(version)
    }

    /// Reads and compiles a version, off the async threads. Returns `None` if it is known.
    async fn load(
        &self,
        name: &str,
        section: &PluginSection,
        is_known: impl FnOnce(&str, &PluginSection) -> bool + Send + 'static,
    ) -> Result<Option<Made<Plugin>>, Refused> {
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

    /// Takes a step that ends within `limit` and some time for files that are slow.
    async fn step<T>(&self, limit: Duration, step: impl Future<Output = T>) -> T {
        self.pulse.during(limit + SLOW_FILES, step).await
    }

    /// Checks whether a subject has to be examined.
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

    /// Records a check of a subject. Returns whether its files have been unchanged for
    /// long enough; if not, they are checked once more.
    fn settle(&mut self, subject: &Subject) -> bool {
        self.seen.get_mut(subject).is_some_and(|seen| {
            seen.settled = seen.since.elapsed() >= SETTLED;
            seen.settled
        })
    }

    /// Checks whether the files of a subject have been unchanged for a time.
    fn has_rested(&mut self, subject: &Subject, rest: Duration) -> bool {
        self.seen.get_mut(subject).is_none_or(|seen| {
            seen.rest = rest.max(SETTLED);
            seen.since.elapsed() >= rest
        })
    }

    /// Returns the time at which an unsettled subject is to be checked again.
    fn next_look(&self) -> Option<Instant> {
        let unsettled = self.seen.values().filter(|seen| !seen.settled);
        unsettled.map(|seen| seen.since + seen.rest).min()
    }
}

impl Refused {
    /// Returns the way out, if one action helps.
    fn hint(&self) -> Option<String> {
        match self {
            Refused::Plugin(error) => error.hint(),
            _ => None,
        }
    }

    /// Returns the error and its causes.
    fn in_one_line(self) -> String {
        program::chain(&self).to_string()
    }

    /// Returns the same, for a line that already names the plugin.
    fn of_the_plugin(self) -> String {
        match self {
            Refused::Plugin(PluginError::Load { source, .. }) => {
                program::chain(&source).to_string()
            }
            Refused::NotStarted { why, .. } => why,
            Refused::Panicked { .. } => "the compiler panicked".to_owned(),
            other => other.in_one_line(),
        }
    }
}
