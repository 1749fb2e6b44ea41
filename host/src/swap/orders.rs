//! Orders of the operator about plugins.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use program::FileStamp;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::loads::{Author, Done, Loads, Takeover, Wanted};
use super::results::answer;
use super::{ConfigurationState, FileWriter, Keeper, Swap, lifecycle};
use crate::config::{Configured, PluginSection};
use crate::known_good::KnownGood;
use crate::plugins::slot::Changes;
use crate::plugins::{Compilation, Compiling, Loader};
use crate::router::{PluginSlot, Router};
use crate::supervision::Pulse;
use crate::swap::switches::Switches;

/// Maximum number of pending orders. Those about different plugins do not wait for each other.
const MAX_ORDERS: usize = 8;

/// Order of the operator, and the channel for its outcome.
pub(super) struct Order {
    action: Action,
    plugin: String,
    done: Done,
}

/// Action of an order.
#[derive(Debug, Clone, PartialEq)]
enum Action {
    Reload,
    RollBack,
    /// Adds or replaces an installed plugin; `None` removes it.
    Install(Option<Box<PluginSection>>),
}

/// Handle that sends orders and reads the state of the configuration.
#[derive(Clone)]
pub(crate) struct Operator {
    orders: mpsc::Sender<Order>,
    /// Permits for the pending orders.
    pending: Arc<Semaphore>,
    configuration: watch::Receiver<ConfigurationState>,
    switches: Arc<Switches>,
    compiling: Compiling,
}

impl Operator {
    /// Activates the version in a plugin's file, even one that was rolled back. Returns the
    /// outcome in one line.
    pub(crate) async fn reload(&self, plugin: &str) -> Result<String, String> {
        self.order(Action::Reload, plugin).await
    }

    /// Activates the previous version again. Returns the outcome in one line.
    pub(crate) async fn roll_back(&self, plugin: &str) -> Result<String, String> {
        self.order(Action::RollBack, plugin).await
    }

    /// Enables or disables a plugin immediately, without waiting for pending orders. Returns
    /// the outcome in one line. An error means that the change ends with the host, because
    /// it could not be persisted.
    pub(crate) async fn switch(&self, slot: &PluginSlot, on: bool) -> Result<String, String> {
        let plugin = slot.name();
        let is = if on { "enabled" } else { "disabled until it is enabled" };
        match self.switches.set(slot, on).await {
            Ok(()) => {
                info!(plugin, "operator: {is}");
                Ok(is.to_owned())
            }
            Err(reason) => {
                let is = if on { "enabled" } else { "disabled" };
                warn!(plugin, "operator: {is} until the host ends, {reason}");
                Err(format!("{is}, but only until the host ends: {reason}"))
            }
        }
    }

    /// Returns the state of the configuration on disk.
    pub(crate) fn configuration(&self) -> ConfigurationState {
        self.configuration.borrow().clone()
    }

    /// Returns the compilations in progress.
    pub(crate) fn compilations(&self) -> Vec<Compilation> {
        self.compiling.list()
    }

    /// Waits until a configuration is refused, and returns the error.
    #[cfg(test)]
    pub(super) async fn until_refused(&mut self) -> String {
        loop {
            self.configuration.changed().await.unwrap();
            if let Some(error) = self.configuration.borrow_and_update().refused.clone() {
                return error;
            }
        }
    }

    #[cfg(test)]
    pub(super) async fn until_restart_needed(&mut self) {
        self.configuration.wait_for(|state| state.restart_needed).await.unwrap();
    }

    /// Sends an order and waits for its outcome.
    async fn order(&self, action: Action, plugin: &str) -> Result<String, String> {
        let too_many = "too many pending orders";
        let _permit = self.pending.try_acquire().map_err(|_| too_many)?;
        let (sender, outcome) = oneshot::channel();
        let done = Done { sender, author: Author::Operator };
        let order = Order { action, plugin: plugin.to_owned(), done };
        self.orders.try_send(order).map_err(|_| too_many)?;
        outcome.await.unwrap_or_else(|_| Err("the host is stopping".to_owned()))
    }

    /// Puts a plugin whose component is in the content store into force, in place of the one of
    /// `host.toml`. `None` removes it again. Returns the outcome in one line.
    pub(crate) async fn install(
        &self,
        plugin: &str,
        section: Option<PluginSection>,
    ) -> Result<String, String> {
        let stopping = "the host is stopping";
        let (sender, outcome) = oneshot::channel();
        let done = Done { sender, author: Author::Fleet };
        let action = Action::Install(section.map(Box::new));
        let order = Order { action, plugin: plugin.to_owned(), done };
        self.orders.send(order).await.map_err(|_| stopping)?;
        outcome.await.unwrap_or_else(|_| Err(stopping.to_owned()))
    }
}

impl Swap {
    /// Creates the task and the operator's handle to it.
    pub(crate) fn new(
        loader: Loader,
        router: Arc<Router>,
        changes: Changes,
        configured: Configured,
        switches: Arc<Switches>,
        known: Option<KnownGood>,
        pulse: Pulse,
    ) -> (Swap, Operator) {
        for slot in router.table().slots().values() {
            // Marked before the task runs, so that no call reaches a plugin that has not
            // started.
            if slot.view().active.is_some_and(|it| it.loaded.plugin.exports().lifecycle) {
                slot.starting();
            }
        }
        let (order_sender, orders) = mpsc::channel(MAX_ORDERS);
        let (configuration, configuration_receiver) = watch::channel(ConfigurationState::default());
        let compiling = loader.compiling().clone();
        // The caller has checked that they agree.
        let config = configured.merged().unwrap_or_else(|_| configured.text.clone());
        let swap = Swap {
            loader,
            router,
            changes,
            in_force: config.plugins.clone(),
            config,
            configured,
            text_refused: None,
            entries_refused: BTreeMap::new(),
            configuration,
            loads: Loads::default(),
            first_files: HashMap::new(),
            seen: HashMap::new(),
            writer: FileWriter::default(),
            orders,
            tasks: JoinSet::new(),
            switches: Arc::clone(&switches),
            keeper: known.map(Keeper::new),
            pulse,
        };
        let operator = Operator {
            orders: order_sender,
            pending: Arc::new(Semaphore::new(MAX_ORDERS)),
            configuration: configuration_receiver,
            switches,
            compiling,
        };
        (swap, operator)
    }

    /// Begins to carry out an order. Its outcome is reported when it ends.
    pub(super) fn carry_out(&mut self, Order { action, plugin, done }: Order) {
        if let Action::Install(section) = action {
            self.install(plugin, section.map(|section| *section), done);
            return;
        }
        let table = self.router.table();
        let outcome = match (table.slot(&plugin), self.config.plugins.get(&plugin)) {
            (None, _) => format!("no plugin `{plugin}`"),
            (_, None) => "the plugin is being removed".to_owned(),
            (Some(slot), _) if action == Action::RollBack => {
                let (router, slot) = (Arc::clone(&self.router), Arc::clone(slot));
                let takeover = self.loads.takeover(&plugin);
                self.tasks.spawn(async move {
                    let outcome = roll_back(&router, &slot, takeover).await;
                    answer(vec![done], slot.name(), &outcome);
                });
                return;
            }
            (Some(slot), _) if slot.is_loading() => "the plugin is still loading".to_owned(),
            (Some(slot), Some(section)) => {
                let (section, slot) = (section.clone(), Some(Arc::clone(slot)));
                self.load_ordered(plugin, section, slot, done);
                return;
            }
        };
        answer(vec![done], &plugin, &Err(outcome));
    }

    /// Begins the load that an order waits for.
    pub(super) fn load_ordered(
        &mut self,
        plugin: String,
        section: PluginSection,
        slot: Option<Arc<PluginSlot>>,
        done: Done,
    ) {
        let stamp = FileStamp::at(&section.file);
        self.loads.add_order(&plugin, done);
        self.loads.begin(&self.loader, &self.router, Wanted { plugin, section, stamp, slot });
    }
}

/// Starts the previous version if it was stopped, and activates it.
async fn roll_back(
    router: &Router,
    slot: &PluginSlot,
    takeover: Takeover,
) -> Result<String, String> {
    let _takeover = takeover.lock().await;
    let before = slot.previous().ok_or("there is no previous version")?;
    if before.is_stopped() {
        let active = slot.view().active;
        let digest = active.as_ref().map(|active| active.loaded.digest.as_str());
        lifecycle::start(router, &before.loaded.plugin, digest).await?;
    }
    let (from, to) = slot.roll_back().ok_or("there is no previous version")?;
    Ok(format!("version {to} is active again, in place of {from}"))
}
