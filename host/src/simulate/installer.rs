//! Installer of a simulated device. All devices share the loaded versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use plugin::Plugin;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::config::{Configured, PluginSection};
use crate::fleet::Installer;
use crate::plugins::slot::{Changes, Chore, Loaded, Slot};
use crate::plugins::{self, Loader};
use crate::router::{Router, Table};
use crate::swap::{start, stop};

/// Maximum number of loaded versions that wait for further devices.
const MAX_LOADED: usize = 64;

/// Versions that the devices of a process have loaded. A version is loaded once for each pair of
/// component and settings.
pub(super) struct SharedVersions {
    loader: Loader,
    versions: Mutex<Vec<SharedVersion>>,
}

/// Version that is loaded by the first device that needs it.
struct SharedVersion {
    plugin: String,
    section: PluginSection,
    loaded: Arc<OnceCell<Result<Loaded<Plugin>, String>>>,
}

impl SharedVersions {
    pub(super) fn new(loader: Loader) -> SharedVersions {
        SharedVersions { loader, versions: Mutex::default() }
    }

    async fn load(&self, plugin: &str, section: &PluginSection) -> Result<Loaded<Plugin>, String> {
        let loaded = self.find(plugin, section);
        let load = || async {
            let (loader, name, section) = (self.loader.clone(), plugin.to_owned(), section.clone());
            let loading = spawn_blocking(move || {
                let file = plugins::read(&name, &section)?;
                loader.load(&name, &section, &file)
            });
            let made = loading.await.map_err(|_| "the compiler panicked".to_owned())?;
            made.map_err(|error| program::chain(&error).to_string())
        };
        loaded.get_or_init(load).await.clone()
    }

    fn find(
        &self,
        plugin: &str,
        section: &PluginSection,
    ) -> Arc<OnceCell<Result<Loaded<Plugin>, String>>> {
        let mut versions = self.versions.lock();
        let found = versions.iter().find(|it| it.plugin == plugin && it.section == *section);
        if let Some(found) = found {
            return Arc::clone(&found.loaded);
        }
        if versions.len() >= MAX_LOADED {
            versions.remove(0);
        }
        let loaded = Arc::default();
        let (plugin, section) = (plugin.to_owned(), section.clone());
        versions.push(SharedVersion { plugin, section, loaded: Arc::clone(&loaded) });
        loaded
    }
}

/// Installer of one device.
pub(super) struct DeviceInstaller {
    pub(super) versions: Arc<SharedVersions>,
    pub(super) router: Arc<Router>,
    pub(super) changes: Changes,
    /// Installed plugins. The lock makes installations take effect one after the other.
    pub(super) configured: tokio::sync::Mutex<Configured>,
}

impl DeviceInstaller {
    async fn replace(&self, plugin: &str, section: Option<PluginSection>) -> Result<(), String> {
        let mut configured = self.configured.lock().await;
        let mut next = configured.clone();
        match section {
            Some(section) => next.installed.insert(plugin.to_owned(), section),
            None => next.installed.remove(plugin),
        };
        let merged = next.merged().map_err(|error| program::chain(&error).to_string())?;
        let table = self.router.table();
        let mut slots = table.slots().clone();
        match merged.plugins.get(plugin) {
            Some(section) => self.put(plugin, section, &mut slots).await?,
            None => drop(slots.remove(plugin).inspect(|slot| slot.remove())),
        }
        self.router.set_table(Table::new(&merged.plugins, slots));
        *configured = next;
        drop(configured);
        for slot in table.slots().values() {
            for chore in slot.chores() {
                match chore {
                    Chore::Stop(version) => stop(&self.router, &version.loaded.plugin).await,
                    Chore::StartAgain { version, instead_of } => {
                        start(&self.router, &version.loaded.plugin, Some(&instead_of)).await?;
                    }
                }
            }
        }
        self.changes.send_replace(());
        Ok(())
    }

    /// Starts a version and puts it into its slot, unless it is active.
    async fn put(
        &self,
        plugin: &str,
        section: &PluginSection,
        slots: &mut BTreeMap<String, Arc<Slot<Plugin>>>,
    ) -> Result<(), String> {
        let loaded = self.versions.load(plugin, section).await?;
        let active = slots.get(plugin).and_then(|slot| slot.view().active);
        let is_active = active.as_ref().is_some_and(|active| {
            active.loaded.digest == loaded.digest && active.loaded.settings == loaded.settings
        });
        if is_active {
            return Ok(());
        }
        let before = active.as_ref().map(|active| active.loaded.digest.as_str());
        start(&self.router, &loaded.plugin, before).await?;
        match slots.get(plugin) {
            Some(slot) => drop(slot.activate(loaded, section.patience)),
            None => {
                let slot = Slot::new(plugin, loaded, section.patience, self.changes.clone());
                slots.insert(plugin.to_owned(), Arc::new(slot));
            }
        }
        Ok(())
    }
}

impl Installer for DeviceInstaller {
    fn compile<'a>(
        &'a self,
        plugin: &'a str,
        section: &'a PluginSection,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.versions.load(plugin, section).await.map(drop) })
    }

    fn install<'a>(
        &'a self,
        plugin: &'a str,
        section: Option<PluginSection>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.replace(plugin, section))
    }
}
