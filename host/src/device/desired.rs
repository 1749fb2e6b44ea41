//! Delivery of changed desired properties to plugins that export `desired`.
//!
//! A plugin gets the difference between the document that it last accepted and the current one:
//! one patch for all changes that it missed, and none for a change that was undone.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::{Document, JobError, TwinAccess as _, readable};
use protocol::twin::difference;
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use crate::backoff::Backoff;
use crate::lent::twin::Twin;
use crate::plugins::slot::{Changes, RejectedDesired};
use crate::router::{PluginSlot, Router, ended};
use crate::supervision::caught;

pub(crate) mod accepted;

/// Maximum number of attempts to deliver a change. After that, the host waits for the next
/// change.
const MAX_ATTEMPTS: u32 = 10;

/// Bounds of the back-off between attempts, unless the plugin requests a delay.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Maximum length of the reason of a rejection, in characters.
const MAX_REASON_CHARS: usize = 256;

/// Maximum delay that a plugin can request.
const MAX_REQUESTED_PAUSE: Duration = Duration::from_secs(3600);

/// Store of the desired properties that plugins have accepted.
pub(crate) trait AcceptedDesired: Send + Sync {
    /// Returns the desired properties that a plugin last accepted.
    fn last(&self, plugin: &str) -> Option<Document>;
    /// Returns the desired properties that a plugin last rejected, unless it has accepted
    /// others since then.
    fn rejected(&self, plugin: &str) -> Option<RejectedDesired>;
    /// Records that a plugin has accepted the desired properties, or rejected them for a
    /// reason. They are not delivered again.
    fn settle<'a>(
        &'a self,
        plugin: &'a str,
        document: Document,
        rejected: Option<String>,
    ) -> BoxFuture<'a, ()>;
}

/// Dependencies of deliveries.
#[derive(Clone)]
pub(crate) struct Desired {
    pub(crate) router: Arc<Router>,
    pub(crate) twin: Arc<Twin>,
    pub(crate) accepted: Arc<dyn AcceptedDesired>,
}

/// Identity of a delivery: a document of desired properties and a version of a plugin. Once
/// given up, a delivery is not attempted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivery {
    /// Version of the document.
    version: u64,
    /// Hash of the body, because a hub that was restored from a backup reuses version numbers.
    body: u64,
    /// Version of the plugin.
    plugin: u32,
}

/// Delivery that failed and must be retried.
struct FailedDelivery {
    /// `true` if the plugin was called.
    was_called: bool,
    /// Delay that the plugin requested.
    retry_after: Option<Duration>,
}

impl Desired {
    /// Delivers changes until the future is dropped. A plugin gets one delivery at a time.
    pub(crate) async fn run(self, changes: Changes) {
        let mut changed = changes.subscribe();
        let mut twin_changes = self.twin.changes();
        let mut deliveries: JoinSet<(String, Option<Delivery>)> = JoinSet::new();
        let mut busy = HashSet::new();
        let mut given_up: HashMap<String, Delivery> = HashMap::new();
        loop {
            changed.mark_unchanged();
            twin_changes.mark_unchanged();
            for (name, slot) in self.router.table().slots() {
                self.show_rejected(slot);
                let delivery = self.outstanding(slot);
                if delivery.is_some()
                    && delivery != given_up.get(name).copied()
                    && busy.insert(name.clone())
                {
                    let (desired, name, slot) = (self.clone(), name.clone(), Arc::clone(slot));
                    deliveries.spawn(async move {
                        let delivered = caught(desired.deliver(&slot)).await;
                        let given_up = delivered.unwrap_or_else(|panic| {
                            error!(
                                plugin = name,
                                "desired properties given up: host fault: {panic}"
                            );
                            delivery
                        });
                        (name, given_up)
                    });
                }
            }
            tokio::select! {
                Ok(()) = changed.changed() => {}
                Ok(()) = twin_changes.changed() => {}
                Some(Ok((name, delivery))) = deliveries.join_next() => {
                    busy.remove(&name);
                    match delivery {
                        Some(delivery) => given_up.insert(name, delivery),
                        None => given_up.remove(&name),
                    };
                }
                else => return,
            }
        }
    }

    /// Stores the rejection in the slot for display. A plugin version without the export
    /// `desired` has none.
    fn show_rejected(&self, slot: &PluginSlot) {
        let active = slot.view().active;
        let can_reject = active.is_none_or(|version| version.loaded.plugin.exports().desired);
        let rejected = can_reject.then(|| self.accepted.rejected(slot.name())).flatten();
        slot.set_desired_rejected(rejected);
    }

    /// Returns the delivery that a plugin still needs, if there is one.
    fn outstanding(&self, slot: &PluginSlot) -> Option<Delivery> {
        let version = slot.view().active?;
        if !version.loaded.plugin.exports().desired {
            return None;
        }
        let now = self.twin.desired().ok()?;
        let accepted = self.accepted.last(slot.name());
        (accepted.as_ref() != Some(&now)).then(|| Delivery {
            version: now.version,
            body: hash(&now.body),
            plugin: version.number,
        })
    }

    /// Attempts a delivery until the plugin accepts or rejects it. Returns the delivery if it
    /// is given up.
    async fn deliver(&self, slot: &Arc<PluginSlot>) -> Option<Delivery> {
        let mut pause = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let (mut current, mut attempt) = (None, 0);
        loop {
            let delivery = self.outstanding(slot)?;
            let removed =
                !self.router.table().slot(slot.name()).is_some_and(|held| Arc::ptr_eq(held, slot));
            if removed || self.router.is_draining() {
                return Some(delivery);
            }
            if current.replace(delivery) != Some(delivery) {
                (attempt, pause) = (0, Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
            }
            if attempt == MAX_ATTEMPTS {
                let (plugin, version) = (slot.name(), delivery.version);
                error!(plugin, version, "desired properties not accepted after {attempt} tries");
                return Some(delivery);
            }
            match self.attempt(slot, attempt + 1).await {
                Ok(()) => return None,
                Err(FailedDelivery { was_called, retry_after }) => {
                    attempt += u32::from(was_called);
                    sleep(retry_after.unwrap_or_else(|| pause.next())).await;
                }
            }
        }
    }

    /// Calls the plugin once.
    async fn attempt(&self, slot: &PluginSlot, attempt: u32) -> Result<(), FailedDelivery> {
        let plugin = slot.name();
        let not_now = FailedDelivery { was_called: false, retry_after: None };
        let Ok(now) = self.twin.desired() else { return Err(not_now) };
        let version = now.version;
        let before = self.accepted.last(plugin);
        let patch = difference(
            &before.map(|document| object(&document.body)).unwrap_or_default(),
            &object(&now.body),
        );
        if patch.is_empty() {
            // The content equals that of the last delivery, so the plugin's decision still
            // applies.
            let rejected = self.accepted.rejected(plugin).map(|before| before.rejected);
            self.accepted.settle(plugin, now, rejected).await;
            return Ok(());
        }
        let payload = Value::from(patch).to_string();
        let begun = match slot.begin(Instant::now()) {
            Ok(begun) => begun,
            Err(reason) => {
                debug!(plugin, version, "desired properties wait: {reason}");
                return Err(not_now);
            }
        };
        let mut call = self.router.new_call("desired", &payload);
        call.attempt = attempt;
        let id = Arc::clone(&call.id);
        let outcome = begun.version.loaded.plugin.desired_changed(call, version).await;
        self.router.call_ended(&id);
        ended(slot, &begun, outcome.as_ref().err());
        let retry_after = match outcome {
            Ok(Ok(())) => {
                info!(plugin, version, call = %id, "desired properties accepted");
                self.accepted.settle(plugin, now, None).await;
                return Ok(());
            }
            Ok(Err(JobError::Reject(reason))) => {
                let reason = readable(&reason);
                warn!(plugin, version, call = %id, "desired properties rejected: {reason}");
                let reason = reason.chars().take(MAX_REASON_CHARS).collect();
                self.accepted.settle(plugin, now, Some(reason)).await;
                return Ok(());
            }
            Ok(Err(JobError::Retry(ms))) => {
                ms.map(|ms| Duration::from_millis(ms.into()).min(MAX_REQUESTED_PAUSE))
            }
            Ok(Err(JobError::Other(reason))) => {
                let reason = readable(&reason);
                warn!(plugin, version, call = %id, attempt, "desired properties not accepted: {reason}");
                None
            }
            Err(error) if error.is_lack_of_capacity() => {
                debug!(plugin, version, call = %id, "desired properties wait: {error}");
                return Err(not_now);
            }
            Err(error) => {
                warn!(plugin, version, call = %id, attempt, "desired properties not accepted: {error}");
                None
            }
        };
        Err(FailedDelivery { was_called: true, retry_after })
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Parses a document.
fn object(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).expect("a document is a JSON object")
}

#[cfg(test)]
mod tests;
