//! Orders of the operator about plugins.

use std::collections::HashMap;
use std::sync::Arc;

use plugin::MAX_DEADLINE;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{ConfigurationState, FileWriter, Keeper, Refused, Swap, lifecycle};
use crate::config::{Config, PluginSection};
use crate::known_good::KnownGood;
use crate::plugins::slot::Changes;
use crate::plugins::{Compilation, Compiling, Loader};
use crate::router::{PluginSlot, Router};
use crate::supervision::Pulse;
use crate::swap::switches::Switches;

/// Maximum number of pending orders. Orders are carried out one at a time.
const MAX_ORDERS: usize = 8;

/// Order of the operator, and the channel for its outcome.
pub(super) struct Order {
    action: Action,
    plugin: String,
    done: oneshot::Sender<Result<String, String>>,
}

/// Action of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Reload,
    RollBack,
}

/// Handle that sends orders and reads the state of the configuration.
#[derive(Clone)]
pub(crate) struct Operator {
    orders: mpsc::Sender<Order>,
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
        let (done, outcome) = oneshot::channel();
        let order = Order { action, plugin: plugin.to_owned(), done };
        self.orders.try_send(order).map_err(|_| "too many pending orders".to_owned())?;
        outcome.await.unwrap_or_else(|_| Err("the host is stopping".to_owned()))
    }
}

impl Swap {
    /// Creates the task and the operator's handle to it.
    pub(crate) fn new(
        loader: Loader,
        router: Arc<Router>,
        changes: Changes,
        config: Config,
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
        let swap = Swap {
            loader,
            router,
            changes,
            config,
            pending: None,
            configuration,
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
            configuration: configuration_receiver,
            switches,
            compiling,
        };
        (swap, operator)
    }

    /// Carries out an order and reports its outcome.
    pub(super) async fn carry_out(&mut self, Order { action, plugin, done }: Order) {
        let table = self.router.table();
        let outcome = match (table.slot(&plugin), action) {
            (None, _) => Err(format!("no plugin `{plugin}`")),
            (Some(slot), Action::Reload) => self.reload(slot).await,
            (Some(slot), Action::RollBack) => self.roll_back(slot).await,
        };
        match &outcome {
            Ok(line) => info!(plugin, "operator: {line}"),
            Err(line) => warn!(plugin, "operator: {line}"),
        }
        // The operator may have disconnected.
        done.send(outcome).ok();
    }

    /// Activates the version in a plugin's file, even one that was rolled back.
    async fn reload(&self, slot: &Arc<PluginSlot>) -> Result<String, String> {
        let section = &self.config.plugins[slot.name()];
        if slot.is_loading() {
            return Err("the plugin is still loading".to_owned());
        }
        let active = slot.view().active;
        let is_active = move |digest: &str, section: &PluginSection| {
            active.is_some_and(|it| {
                it.loaded.digest == digest && *it.loaded.settings == section.settings
            })
        };
        let made = self
            .load(slot.name(), section, is_active)
            .await
            .map_err(Refused::without_plugin_name)?;
        let Some(made) = made else {
            slot.set_refused(None);
            let number = slot.view().active.map_or(0, |active| active.number);
            return Ok(format!("version {number} of this file is already active"));
        };
        match self.start_and_activate(slot, made, section).await {
            Ok(version) => Ok(format!("version {version} is active")),
            Err(error) => Err(error.without_plugin_name()),
        }
    }

    /// Starts the previous version if it was stopped, and activates it.
    async fn roll_back(&self, slot: &Arc<PluginSlot>) -> Result<String, String> {
        let before = slot.previous().ok_or("there is no previous version")?;
        if before.is_stopped() {
            let active = slot.view().active;
            let digest = active.as_ref().map(|active| active.loaded.digest.as_str());
            let start = lifecycle::start(&self.router, &before.loaded.plugin, digest);
            self.step(MAX_DEADLINE, start).await?;
        }
        let (from, to) = slot.roll_back().ok_or("there is no previous version")?;
        Ok(format!("version {to} is active again, in place of {from}"))
    }
}
