//! Delivery of changed desired properties to plugins that export `desired`.
//!
//! A plugin gets the difference between the document that it accepted last and the current
//! one. If it missed ten changes, it gets one patch. If a change was undone, it gets none.

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

/// Maximum number of attempts to deliver a change. The host then waits for the next change.
const MAX_ATTEMPTS: u32 = 10;

/// Back-off between attempts, unless the plugin requests another delay.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Maximum length of a recorded rejection, in characters.
const MAX_REASON_CHARS: usize = 256;

/// Longest delay that a plugin can request.
const MAX_REQUESTED_PAUSE: Duration = Duration::from_secs(3600);

/// Store of the desired properties that plugins have accepted.
pub(crate) trait AcceptedDesired: Send + Sync {
    /// Returns the desired properties that a plugin accepted last.
    fn last(&self, plugin: &str) -> Option<Document>;
    /// Returns the desired properties that a plugin rejected, unless it has accepted others
    /// since.
    fn rejected(&self, plugin: &str) -> Option<RejectedDesired>;
    /// Records the desired properties that a plugin has accepted, or rejected for a reason.
    /// Neither is delivered again.
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

/// Identity of a delivery: a document of desired properties, and a version of a plugin. A
/// delivery that was given up is not attempted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delivery {
    /// Version of the document.
    version: u64,
    /// Hash of the body. A hub that was restored from a backup reuses version numbers.
    body: u64,
    /// Version of the plugin.
    plugin: u32,
}

/// Delivery that must be attempted again.
struct Again {
    /// `true` if the plugin was called.
    tried: bool,
    /// Delay that the plugin requested.
    after: Option<Duration>,
}

impl Desired {
    /// Delivers changes until the future is dropped, one delivery at a time to each plugin.
    pub(crate) async fn run(self, changes: Changes) {
        let mut changed = changes.subscribe();
        let mut sightings = self.twin.changes();
        let mut deliveries: JoinSet<(String, Option<Delivery>)> = JoinSet::new();
        let mut busy = HashSet::new();
        let mut given_up: HashMap<String, Delivery> = HashMap::new();
        loop {
            changed.mark_unchanged();
            sightings.mark_unchanged();
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
                Ok(()) = sightings.changed() => {}
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

    /// Shows the desired properties that a plugin has rejected. A version that does not export
    /// `desired` rejects none.
    fn show_rejected(&self, slot: &PluginSlot) {
        let active = slot.view().active;
        let can_reject = active.is_none_or(|version| version.loaded.plugin.exports().desired);
        let rejected = can_reject.then(|| self.accepted.rejected(slot.name())).flatten();
        slot.set_desired_rejected(rejected);
    }

    /// Returns the outstanding delivery to a plugin, if there is one.
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

    /// Attempts a delivery until the plugin has accepted it. Returns the delivery if it is
    /// given up.
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
                Err(Again { tried, after }) => {
                    attempt += u32::from(tried);
                    sleep(after.unwrap_or_else(|| pause.next())).await;
                }
            }
        }
    }

    /// Calls the plugin once.
    async fn attempt(&self, slot: &PluginSlot, attempt: u32) -> Result<(), Again> {
        let plugin = slot.name();
        let not_now = Again { tried: false, after: None };
        let Ok(now) = self.twin.desired() else { return Err(not_now) };
        let version = now.version;
        let before = self.accepted.last(plugin);
        let patch = difference(
            &before.map(|document| object(&document.body)).unwrap_or_default(),
            &object(&now.body),
        );
        if patch.is_empty() {
            // The content is that of the last delivery, and so is the plugin's reply.
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
        let after = match outcome {
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
            Err(error) => {
                warn!(plugin, version, call = %id, attempt, "desired properties not accepted: {error}");
                None
            }
        };
        Err(Again { tried: true, after })
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
