//! Loads of new versions. Each plugin is loaded independently, and takes over as soon as it
//! is ready.
//!
//! A file can change while an earlier version of it is still being compiled. The newer
//! version is then loaded at once, and the earlier one is not activated any more.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use plugin::Plugin;
use program::FileStamp;
use tokio::sync::{Mutex, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tracing::{info, warn};

use super::{Refused, lifecycle};
use crate::config::PluginSection;
use crate::plugins::slot::Loaded;
use crate::plugins::{self, Loader};
use crate::router::{PluginSlot, Router};
use crate::supervision::caught;

/// Maximum number of concurrent loads of one plugin. A compilation cannot be cancelled, so a
/// file that changes again and again would otherwise make any number of them.
const MAX_OF_PLUGIN: usize = 2;

/// Channel for the outcome of an order, in one line.
pub(super) struct Done {
    pub(super) sender: oneshot::Sender<Result<String, String>>,
    /// Author of the order.
    pub(super) author: Author,
}

/// Author of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Author {
    Operator,
    /// The worker that installs versions of the fleet, which logs the outcomes itself.
    Fleet,
}

impl Done {
    /// Reports the outcome of an order about a plugin.
    pub(super) fn send(self, plugin: &str, line: Result<String, String>) {
        match (&line, self.author) {
            (Ok(line), Author::Operator) => info!(plugin, "operator: {line}"),
            (Err(line), Author::Operator) => warn!(plugin, "operator: {line}"),
            (_, Author::Fleet) => {}
        }
        // The author may have disconnected.
        self.sender.send(line).ok();
    }
}

/// Loads of all plugins.
#[derive(Default)]
pub(super) struct Loads {
    plugins: HashMap<String, LoadsOfPlugin>,
    tasks: JoinSet<LoadEnd>,
    last: u64,
}

/// Loads of one plugin.
#[derive(Default)]
struct LoadsOfPlugin {
    running: usize,
    /// Number of the newest load. The others are not activated.
    newest: Arc<AtomicU64>,
    /// Version that the newest load is for, until it has ended.
    current: Option<Wanted>,
    /// `true` if the newest load begins only after another one has ended.
    is_postponed: bool,
    /// Orders that wait for the newest load.
    orders: Vec<Done>,
    /// Lock that makes versions start and take over one after the other.
    takeover: Takeover,
}

/// Lock of a plugin for the start of versions and their activation.
pub(super) type Takeover = Arc<Mutex<()>>;

/// Version to load.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) plugin: String,
    pub(super) section: PluginSection,
    /// Stamp of the file.
    pub(super) stamp: Option<FileStamp>,
    /// Slot of the plugin; `None` if a new configuration adds it.
    pub(super) slot: Option<Arc<PluginSlot>>,
}

/// End of a load.
pub(super) struct LoadEnd {
    number: u64,
    pub(super) wanted: Wanted,
    pub(super) outcome: Result<Outcome, Refused>,
    /// Orders that have waited for it.
    pub(super) orders: Vec<Done>,
    /// `true` if no newer load of the plugin has begun since.
    pub(super) is_newest: bool,
}

/// Outcome of a load.
pub(super) enum Outcome {
    /// The version is the active one, or one that was rolled back.
    Known,
    /// Number of the version that became active.
    Active(u32),
    /// Started first version of a plugin without a slot.
    Added(Box<Loaded<Plugin>>),
    /// The version was not started, because a newer load had begun.
    Superseded,
}

/// Task of a load.
struct Load {
    loader: Loader,
    router: Arc<Router>,
    wanted: Wanted,
    number: u64,
    newest: Arc<AtomicU64>,
    takeover: Takeover,
    /// `true` if the operator has ordered it, so that it can activate a rolled-back version.
    is_ordered: bool,
}

impl Loads {
    /// Begins a load, which replaces an earlier one of the plugin.
    pub(super) fn begin(&mut self, loader: &Loader, router: &Arc<Router>, wanted: Wanted) {
        let loads = self.plugins.entry(wanted.plugin.clone()).or_default();
        self.last += 1;
        loads.newest.store(self.last, Ordering::Relaxed);
        loads.current = Some(wanted.clone());
        loads.is_postponed = loads.running >= MAX_OF_PLUGIN;
        if loads.is_postponed {
            return;
        }
        loads.running += 1;
        let load = Load {
            loader: loader.clone(),
            router: Arc::clone(router),
            wanted,
            number: self.last,
            newest: Arc::clone(&loads.newest),
            takeover: Arc::clone(&loads.takeover),
            is_ordered: !loads.orders.is_empty(),
        };
        self.tasks.spawn(load.end());
    }

    /// Adds an order, which waits for the next load of the plugin.
    pub(super) fn add_order(&mut self, plugin: &str, done: Done) {
        self.plugins.entry(plugin.to_owned()).or_default().orders.push(done);
    }

    /// Returns the lock of a plugin for the start of versions.
    pub(super) fn takeover(&mut self, plugin: &str) -> Takeover {
        Arc::clone(&self.plugins.entry(plugin.to_owned()).or_default().takeover)
    }

    /// Returns `true` if the newest load of a plugin has not ended.
    pub(super) fn is_loading(&self, plugin: &str) -> bool {
        self.plugins.get(plugin).is_some_and(|loads| loads.current.is_some())
    }

    /// Returns `true` if the newest load of a plugin is for this version and has not ended.
    pub(super) fn is_loading_version(
        &self,
        plugin: &str,
        section: &PluginSection,
        stamp: Option<&FileStamp>,
    ) -> bool {
        let current = self.plugins.get(plugin).and_then(|loads| loads.current.as_ref());
        current.is_some_and(|it| it.section == *section && it.stamp.as_ref() == stamp)
    }

    /// Drops the loads of a plugin that was removed: none of them is activated.
    pub(super) fn cancel(&mut self, plugin: &str) {
        let Some(loads) = self.plugins.get_mut(plugin) else { return };
        self.last += 1;
        loads.newest.store(self.last, Ordering::Relaxed);
        (loads.current, loads.is_postponed) = (None, false);
        for done in loads.orders.drain(..) {
            done.send(plugin, Err("the plugin was removed".to_owned()));
        }
    }

    /// Waits for the end of a load. Returns `None` if none is running.
    pub(super) async fn next_end(&mut self) -> Option<LoadEnd> {
        let ended = self.tasks.join_next().await?;
        Some(ended.expect("a load catches panics and is not cancelled"))
    }

    /// Records the end of a load. Returns the version whose load can begin now, if it was
    /// postponed.
    pub(super) fn record(&mut self, ended: &mut LoadEnd) -> Option<Wanted> {
        let loads = self.plugins.get_mut(&ended.wanted.plugin)?;
        loads.running -= 1;
        if loads.newest.load(Ordering::Relaxed) == ended.number {
            ended.is_newest = true;
            ended.orders = std::mem::take(&mut loads.orders);
            loads.current = None;
        }
        let postponed = loads.is_postponed.then(|| loads.current.clone()).flatten();
        // A rollback that waits for the lock keeps it in the map.
        if loads.running == 0 && loads.current.is_none() && Arc::strong_count(&loads.takeover) == 1
        {
            self.plugins.remove(&ended.wanted.plugin);
        }
        postponed
    }
}

impl Load {
    async fn end(self) -> LoadEnd {
        let (number, wanted) = (self.number, self.wanted.clone());
        let outcome = caught(self.run()).await.unwrap_or_else(|panic| {
            let plugin = wanted.plugin.clone();
            Err(Refused::NotStarted { plugin, reason: format!("host fault: {panic}") })
        });
        LoadEnd { number, wanted, outcome, orders: Vec::new(), is_newest: false }
    }

    /// Loads, starts and activates the version.
    async fn run(self) -> Result<Outcome, Refused> {
        let loaded = {
            let (loader, wanted, is_ordered) =
                (self.loader.clone(), self.wanted.clone(), self.is_ordered);
            spawn_blocking(move || {
                let Wanted { plugin, section, .. } = &wanted;
                let file = plugins::read(plugin, section)?;
                if wanted.is_known(&file.digest, is_ordered) {
                    return Ok(None);
                }
                loader.load(plugin, section, &file).map(Some)
            })
        };
        let panicked = |_| Refused::Panicked { plugin: self.wanted.plugin.clone() };
        let Some(made) = loaded.await.map_err(panicked)?? else { return Ok(Outcome::Known) };
        let _takeover = self.takeover.lock().await;
        if self.newest.load(Ordering::Relaxed) != self.number {
            return Ok(Outcome::Superseded);
        }
        // Another load of the same file may have become active meanwhile.
        if self.wanted.is_known(&made.digest, self.is_ordered) {
            return Ok(Outcome::Known);
        }
        let Wanted { plugin, section, slot, .. } = self.wanted;
        let before = slot.as_ref().and_then(|slot| slot.view().active);
        let digest_before = before.as_ref().map(|before| before.loaded.digest.as_str());
        lifecycle::start(&self.router, &made.plugin, digest_before)
            .await
            .map_err(|reason| Refused::NotStarted { plugin, reason })?;
        let Some(slot) = slot else { return Ok(Outcome::Added(Box::new(made))) };
        let digest = made.digest.clone();
        let version = slot.activate(made, section.patience);
        let before = before.map_or(0, |before| before.number);
        info!(plugin = slot.name(), version, digest, before, "plugin swapped");
        Ok(Outcome::Active(version))
    }
}

impl Wanted {
    /// Returns `true` if a version need not be loaded: it is active or, without an order of
    /// the operator, was rolled back.
    fn is_known(&self, digest: &str, is_ordered: bool) -> bool {
        let Some(slot) = &self.slot else { return false };
        if !is_ordered {
            return slot.file_has(digest, &self.section.settings);
        }
        slot.view().active.is_some_and(|active| {
            active.loaded.digest == digest && *active.loaded.settings == self.section.settings
        })
    }
}
