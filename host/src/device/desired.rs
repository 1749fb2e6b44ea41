//! Delivery of changed desired properties to plugins that export `desired`: once for
//! all changes since the version that each accepted last.
//!
//! The patch is the difference between the accepted document and the current one. A
//! plugin that missed ten changes gets one patch, and a change that was undone gets
//! none.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::{Document, JobError, TwinAccess as _};
use protocol::twin::difference;
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use crate::backoff::Backoff;
use crate::lent::twin::Twin;
use crate::plugins::slot::Changes;
use crate::router::{PluginSlot, Router, ended};

pub(crate) mod accepted;

/// After so many tries of one change the host waits for the next one.
const MOST_ATTEMPTS: u32 = 10;

/// The host's own pauses between tries.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The longest that a plugin may ask for.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// Remembers what each plugin has accepted.
pub(crate) trait AcceptedDesired: Send + Sync {
    /// The desired properties that a plugin accepted last.
    fn last(&self, plugin: &str) -> Option<Document>;
    /// A plugin has accepted these.
    fn accept<'a>(&'a self, plugin: &'a str, document: Document) -> BoxFuture<'a, ()>;
}

/// Dependencies of every delivery.
#[derive(Clone)]
pub(crate) struct Desired {
    pub(crate) router: Arc<Router>,
    pub(crate) twin: Arc<Twin>,
    pub(crate) accepted: Arc<dyn AcceptedDesired>,
}

/// Versions of the desired properties and of the plugin that did not accept them. It is
/// not asked again.
type GivenUp = (u64, u32);

/// A try that did not end the matter.
struct Again {
    /// The plugin was asked at all.
    tried: bool,
    /// Wait that it asks for.
    after: Option<Duration>,
}

impl Desired {
    /// Delivers until the future is dropped, one delivery at a time to each plugin.
    pub(crate) async fn run(self, changes: Changes) {
        let mut changed = changes.subscribe();
        let mut sightings = self.twin.sightings();
        let mut deliveries: JoinSet<(String, Option<GivenUp>)> = JoinSet::new();
        let mut busy = HashSet::new();
        let mut given_up: HashMap<String, GivenUp> = HashMap::new();
        loop {
            changed.mark_unchanged();
            sightings.mark_unchanged();
            for (name, slot) in self.router.table().slots() {
                let versions = self.outstanding(slot);
                if versions.is_some()
                    && versions != given_up.get(name).copied()
                    && busy.insert(name.clone())
                {
                    let (desired, name, slot) = (self.clone(), name.clone(), Arc::clone(slot));
                    deliveries.spawn(async move { (name, desired.deliver(&slot).await) });
                }
            }
            tokio::select! {
                Ok(()) = changed.changed() => {}
                Ok(()) = sightings.changed() => {}
                Some(Ok((name, versions))) = deliveries.join_next() => {
                    busy.remove(&name);
                    match versions {
                        Some(versions) => given_up.insert(name, versions),
                        None => given_up.remove(&name),
                    };
                }
                else => return,
            }
        }
    }

    /// Returns the versions to deliver and of the receiver, if a delivery is
    /// outstanding.
    fn outstanding(&self, slot: &PluginSlot) -> Option<GivenUp> {
        let version = slot.view().active?;
        if !version.made.plugin.exports().desired {
            return None;
        }
        let now = self.twin.desired().ok()?;
        let accepted = self.accepted.last(slot.name());
        (accepted.map(|document| document.version) != Some(now.version))
            .then_some((now.version, version.number))
    }

    /// Delivers until the plugin has accepted. Returns the versions that are given up.
    async fn deliver(&self, slot: &Arc<PluginSlot>) -> Option<GivenUp> {
        let mut pause = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let (mut asked, mut attempt) = (None, 0);
        loop {
            let versions = self.outstanding(slot)?;
            let removed =
                !self.router.table().slot(slot.name()).is_some_and(|held| Arc::ptr_eq(held, slot));
            if removed || self.router.is_draining() {
                return Some(versions);
            }
            if asked.replace(versions) != Some(versions) {
                (attempt, pause) = (0, Backoff::new(FIRST_PAUSE, LONGEST_PAUSE));
            }
            if attempt == MOST_ATTEMPTS {
                let (plugin, version) = (slot.name(), versions.0);
                error!(plugin, version, "desired properties not accepted after {attempt} tries");
                return Some(versions);
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

    /// One try.
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
            self.accepted.accept(plugin, now).await;
            return Ok(());
        }
        let payload = Value::from(patch).to_string();
        let begun = match slot.begin(Instant::now()) {
            Ok(begun) => begun,
            Err(why) => {
                debug!(plugin, version, "desired properties wait: {why}");
                return Err(not_now);
            }
        };
        let mut call = self.router.new_call("desired", &payload);
        call.attempt = attempt;
        let id = Arc::clone(&call.id);
        let outcome = begun.version.made.plugin.desired_changed(call, version).await;
        self.router.call_ended(&id);
        ended(slot, &begun, outcome.as_ref().err());
        let after = match outcome {
            Ok(Ok(())) => {
                info!(plugin, version, call = %id, "desired properties accepted");
                self.accepted.accept(plugin, now).await;
                return Ok(());
            }
            Ok(Err(JobError::Reject(why))) => {
                let why = why.escape_debug();
                warn!(plugin, version, call = %id, "desired properties rejected: {why}");
                self.accepted.accept(plugin, now).await;
                return Ok(());
            }
            Ok(Err(JobError::Retry(ms))) => {
                ms.map(|ms| Duration::from_millis(ms.into()).min(LONGEST_ASKED))
            }
            Ok(Err(JobError::Other(why))) => {
                let why = why.escape_debug();
                warn!(plugin, version, call = %id, attempt, "desired properties not taken: {why}");
                None
            }
            Err(error) => {
                warn!(plugin, version, call = %id, attempt, "desired properties not taken: {error}");
                None
            }
        };
        Err(Again { tried: true, after })
    }
}

fn object(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).expect("a document is a JSON object")
}

#[cfg(test)]
mod tests;
