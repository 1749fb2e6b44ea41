//! Orders of the operator about plugins.

use std::collections::HashMap;
use std::sync::Arc;

use plugin::MAX_DEADLINE;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{FileWriter, Keeper, Refused, Standing, Swap, lifecycle};
use crate::config::{Config, PluginSection};
use crate::known_good::KnownGood;
use crate::plugins::Loader;
use crate::plugins::slot::Changes;
use crate::router::{PluginSlot, Router};
use crate::supervision::Pulse;
use crate::swap::switches::Switches;

/// Orders that wait; one is carried out at a time.
const MOST_ORDERS: usize = 8;

/// One order, and where to say how it went.
pub(super) struct Order {
    what: Action,
    plugin: String,
    done: oneshot::Sender<Result<String, String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Reload,
    RollBack,
}

/// Handle of the operator: gives orders, and reads the state of the configuration.
#[derive(Clone)]
pub(crate) struct Operator {
    orders: mpsc::Sender<Order>,
    standing: watch::Receiver<Standing>,
    switches: Arc<Switches>,
}

impl Operator {
    /// Activates the version in a plugin's file, even one that was rolled back. Returns
    /// the outcome in one line, as does [`Operator::roll_back`].
    pub(crate) async fn reload(&self, plugin: &str) -> Result<String, String> {
        self.order(Action::Reload, plugin).await
    }

    /// The version before takes the calls again.
    pub(crate) async fn roll_back(&self, plugin: &str) -> Result<String, String> {
        self.order(Action::RollBack, plugin).await
    }

    /// No calls for a plugin until it is switched on again; at once, whatever
    /// else is under way. An error where it will not stay so.
    pub(crate) async fn switch(&self, slot: &PluginSlot, on: bool) -> Result<String, String> {
        let plugin = slot.name();
        let is = if on { "enabled" } else { "disabled until it is enabled" };
        match self.switches.set(slot, on).await {
            Ok(()) => {
                info!(plugin, "operator: {is}");
                Ok(is.to_owned())
            }
            Err(why) => {
                let is = if on { "enabled" } else { "disabled" };
                warn!(plugin, "operator: {is} until the host ends, {why}");
                Err(format!("{is}, but only until the host ends: {why}"))
            }
        }
    }

    /// Returns the state of the configuration on disk.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// Waits for the next time that a configuration is refused, and says why.
    #[cfg(test)]
    pub(super) async fn until_refused(&mut self) -> String {
        loop {
            self.standing.changed().await.unwrap();
            if let Some(why) = self.standing.borrow_and_update().refused.clone() {
                return why;
            }
        }
    }

    #[cfg(test)]
    pub(super) async fn until_restart_needed(&mut self) {
        self.standing.wait_for(|standing| standing.restart_needed).await.unwrap();
    }

    async fn order(&self, what: Action, plugin: &str) -> Result<String, String> {
        let (done, told) = oneshot::channel();
        let order = Order { what, plugin: plugin.to_owned(), done };
        self.orders.try_send(order).map_err(|_| "too many orders wait already".to_owned())?;
        told.await.unwrap_or_else(|_| Err("the host is stopping".to_owned()))
    }
}

impl Swap {
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
            // From before the first call on.
            if slot.view().active.is_some_and(|it| it.made.plugin.exports().lifecycle) {
                slot.starting();
            }
        }
        let (give, orders) = mpsc::channel(MOST_ORDERS);
        let (standing, see) = watch::channel(Standing::default());
        let swap = Swap {
            loader,
            router,
            changes,
            config,
            pending: None,
            standing,
            seen: HashMap::new(),
            writer: FileWriter::default(),
            orders,
            tasks: JoinSet::new(),
            switches: Arc::clone(&switches),
            keeper: known.map(Keeper::new),
            pulse,
        };
        (swap, Operator { orders: give, standing: see, switches })
    }

    pub(super) async fn obey(&mut self, Order { what, plugin, done }: Order) {
        let table = self.router.table();
        let outcome = match (table.slot(&plugin), what) {
            (None, _) => Err(format!("no plugin `{plugin}`")),
            (Some(slot), Action::Reload) => self.reload(slot).await,
            (Some(slot), Action::RollBack) => self.roll_back(slot).await,
        };
        match &outcome {
            Ok(line) => info!(plugin, "operator: {line}"),
            Err(line) => warn!(plugin, "operator: {line}"),
        }
        // Who ordered may have gone.
        done.send(outcome).ok();
    }

    async fn reload(&self, slot: &Arc<PluginSlot>) -> Result<String, String> {
        let section = &self.config.plugins[slot.name()];
        if slot.is_loading() {
            return Err("it is being loaded".to_owned());
        }
        let active = slot.view().active;
        let is_active = move |digest: &str, section: &PluginSection| {
            active
                .is_some_and(|it| it.made.digest == digest && *it.made.settings == section.settings)
        };
        let made =
            self.load(slot.name(), section, is_active).await.map_err(Refused::of_the_plugin)?;
        let Some(made) = made else {
            slot.set_refused(None);
            let number = slot.view().active.map_or(0, |active| active.number);
            return Ok(format!("version {number} is what its file holds"));
        };
        match self.start_and_activate(slot, made, section).await {
            Ok(version) => Ok(format!("version {version} takes the calls")),
            Err(error) => Err(error.of_the_plugin()),
        }
    }

    async fn roll_back(&self, slot: &Arc<PluginSlot>) -> Result<String, String> {
        let before = slot.previous().ok_or("there is no version before this one")?;
        if before.is_stopped() {
            let active = slot.view().active;
            let digest = active.as_ref().map(|active| active.made.digest.as_str());
            let start = lifecycle::start(&self.router, &before.made.plugin, digest);
            self.step(MAX_DEADLINE, start).await?;
        }
        let (from, to) = slot.roll_back().ok_or("there is no version before this one")?;
        Ok(format!("version {to} takes the calls again, {from} does not"))
    }
}
