//! Loading of first versions after the start of the host: from their files, or from the
//! last working versions.

use std::sync::Arc;

use plugin::Plugin;
use program::FileStamp;
use tokio::task::spawn_blocking;
use tracing::{error, warn};

use super::{Refused, Swap, lifecycle};
use crate::config::PluginSection;
use crate::known_good::{GoodVersion, KnownGood};
use crate::plugins::slot::Loaded;
use crate::plugins::{self, Loader};
use crate::router::{PluginSlot, Router};
use crate::supervision::caught;

/// Loading of the first version of a plugin.
struct FirstVersion {
    loader: Loader,
    router: Arc<Router>,
    slot: Arc<PluginSlot>,
    section: PluginSection,
    /// Versions of earlier runs.
    versions: GoodVersion,
    /// Directory of these versions.
    known: Option<KnownGood>,
}

/// Loaded version of a plugin, and its origin.
enum Found {
    /// Version in the plugin's file.
    InFile(Loaded<Plugin>),
    /// Last working version, and the error of the plugin's file.
    LastGood(Loaded<Plugin>, String),
    /// Last working version, and the digest of the rolled-back version in the plugin's file.
    RolledBack(Loaded<Plugin>, String),
}

/// Error: there is no last working version, or it does not load.
struct Missing;

impl Swap {
    /// Loads missing first versions, all plugins concurrently.
    pub(super) fn load_missing(&mut self) {
        let table = self.router.table();
        for (name, section) in &self.config.plugins {
            let Some(slot) = table.slot(name).filter(|slot| slot.is_loading()) else { continue };
            self.first_files.insert(name.clone(), FileStamp::at(&section.file));
            let keeper = self.keeper.as_ref();
            let versions = keeper.and_then(|keeper| keeper.record.plugins.get(name).cloned());
            let first = FirstVersion {
                loader: self.loader.clone(),
                router: Arc::clone(&self.router),
                slot: Arc::clone(slot),
                section: section.clone(),
                versions: versions.unwrap_or_default(),
                known: keeper.map(|keeper| keeper.known().clone()),
            };
            let slot = Arc::clone(slot);
            self.tasks.spawn(async move {
                if let Err(panic) = caught(first.run()).await {
                    error!(plugin = slot.name(), "plugin not loaded: host fault: {panic}");
                    slot.not_loaded(format!("host fault: {panic}"));
                }
            });
        }
    }
}

impl FirstVersion {
    /// Loads and starts a version. Falls back to the last working one.
    async fn run(self) {
        let Some(is_last_good) = self.load().await else { return };
        let Some(version) = self.slot.view().active else { return };
        let plugin = &version.loaded.plugin;
        if !plugin.exports().lifecycle {
            self.slot.started(version.number, None);
            return;
        }
        if !is_last_good && let Some(good) = self.good_digest(&version.loaded.digest) {
            let Err(reason) = lifecycle::start(&self.router, plugin, None).await else {
                self.slot.started(version.number, None);
                return;
            };
            if self.start_last_good(good, reason).await {
                return;
            }
        }
        lifecycle::start_with_retries(self.router, self.slot, version, None).await;
    }

    /// Loads a version. Returns `true` if it is the last working one, and `None` if there is
    /// no version to start.
    async fn load(&self) -> Option<bool> {
        let plugin = self.slot.name();
        match self.find().await {
            Ok(Found::InFile(made)) => self.slot.loaded(made).map(|_| false),
            Ok(Found::LastGood(made, reason)) => {
                let digest = made.digest.clone();
                let version = self.slot.loaded(made);
                if version.is_some() {
                    error!(plugin, digest, "plugin runs its last working version: {reason}");
                    self.slot.set_refused(Some(reason));
                }
                version.map(|_| true)
            }
            Ok(Found::RolledBack(made, bad)) => {
                let (digest, settings) = (made.digest.clone(), Arc::clone(&made.settings));
                let version = self.slot.loaded(made);
                if version.is_some() {
                    warn!(plugin, digest, rolled_back = bad, "rolled-back version not loaded");
                    let reason = format!("version {bad} was rolled back; its file has not changed");
                    self.slot.reject(bad, settings, reason);
                }
                version.map(|_| true)
            }
            Err(reason) => {
                let (file, hint) = (self.section.file.display(), reason.hint());
                let reason = reason.without_plugin_name();
                error!(plugin, %file, hint, "plugin not loaded: {reason}");
                self.slot.not_loaded(reason);
                None
            }
        }
    }

    /// Loads the version in the file or, if it does not load or was rolled back, the last
    /// working one.
    async fn find(&self) -> Result<Found, Refused> {
        let rolled_back = self.versions.rolled_back.clone();
        if let (Some(bad), Some(good)) = (rolled_back, self.versions.good.clone())
            && bad != good
            && self.file_is(&bad).await
            && let Ok(made) = self.load_good(good).await
        {
            return Ok(Found::RolledBack(made, bad));
        }
        let reason = match self.load_file(self.section.clone()).await {
            Ok(made) => return Ok(Found::InFile(made)),
            Err(reason) => reason,
        };
        let Some(good) = self.versions.good.clone() else { return Err(reason) };
        match self.load_good(good).await {
            Ok(made) => Ok(Found::LastGood(made, reason.without_plugin_name())),
            Err(_) => Err(reason),
        }
    }

    /// Returns `true` if the plugin's file contains the version with this digest.
    async fn file_is(&self, digest: &str) -> bool {
        let (plugin, section) = (self.slot.name().to_owned(), self.section.clone());
        let read = spawn_blocking(move || plugins::read(&plugin, &section));
        read.await.is_ok_and(|file| file.is_ok_and(|file| file.digest == digest))
    }

    /// Reads and compiles the file of a section on a blocking thread.
    async fn load_file(&self, section: PluginSection) -> Result<Loaded<Plugin>, Refused> {
        let (loader, plugin) = (self.loader.clone(), self.slot.name().to_owned());
        let load = move || {
            let file = plugins::read(&plugin, &section)?;
            loader.load(&plugin, &section, &file)
        };
        match spawn_blocking(load).await {
            Ok(made) => Ok(made?),
            Err(_) => Err(Refused::Panicked { plugin: self.slot.name().to_owned() }),
        }
    }

    /// Loads the last working version with the current settings, so that it does not get a
    /// capability that was revoked.
    async fn load_good(&self, digest: String) -> Result<Loaded<Plugin>, Missing> {
        let file = self.known.as_ref().ok_or(Missing)?.path(&digest);
        // Its digest is checked below.
        let section = PluginSection { file, sha256: None, ..self.section.clone() };
        let made = self.load_file(section).await.map_err(|error| {
            let (plugin, error) = (self.slot.name(), error.without_plugin_name());
            warn!(plugin, digest, "last working version not loaded: {error}");
            Missing
        })?;
        if made.digest == digest { Ok(made) } else { Err(Missing) }
    }

    /// Starts the last working version in place of one that did not start. Returns `false`
    /// if it does not load or start.
    async fn start_last_good(&self, digest: String, reason: String) -> bool {
        let Ok(made) = self.load_good(digest).await else { return false };
        if lifecycle::start(&self.router, &made.plugin, None).await.is_err() {
            return false;
        }
        let (plugin, digest) = (self.slot.name(), made.digest.clone());
        self.slot.activate(made, self.section.patience);
        error!(plugin, digest, "plugin runs its last working version: {reason}");
        self.slot.set_refused(Some(reason));
        true
    }

    /// Returns the digest of the last working version, unless it is `digest`.
    fn good_digest(&self, digest: &str) -> Option<String> {
        self.versions.good.clone().filter(|good| good != digest)
    }
}
