//! Calls of a plugin's `lifecycle` interface when versions start and stop.

use std::sync::Arc;
use std::time::Duration;

use plugin::{Plugin, readable};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::Swap;
use crate::backoff::Backoff;
use crate::plugins::slot::{Chore, SlotStatus, Version};
use crate::router::{PluginSlot, Router};
use crate::supervision::caught;

/// Back-off between attempts to start a plugin.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(30);

/// Time after which a start is not repeated for a lack of capacity.
const CAPACITY_WAIT: Duration = Duration::from_secs(10);

/// Time limit for plugins to stop when the host stops.
const LAST_STOPS: Duration = Duration::from_secs(3);

/// Calls `start` of a version that replaces `previous`, within the plugin's deadline. Repeats
/// it for a while if the host lacks the capacity, because that is not the version's fault.
pub(crate) async fn start(
    router: &Router,
    plugin: &Plugin,
    previous: Option<&str>,
) -> Result<(), String> {
    if !plugin.exports().lifecycle {
        return Ok(());
    }
    let begun = Instant::now();
    let mut pause = Backoff::new(FIRST_RETRY, MAX_RETRY);
    let outcome = loop {
        let call = router.new_call("start", "null");
        let id = Arc::clone(&call.id);
        let outcome = plugin.start(call, previous).await;
        router.call_ended(&id);
        match &outcome {
            Err(error) if error.is_lack_of_capacity() && begun.elapsed() < CAPACITY_WAIT => {
                debug!(plugin = plugin.name(), "start waits: {error}");
                sleep(pause.next()).await;
            }
            _ => break outcome,
        }
    };
    match outcome {
        Ok(Ok(())) => {
            info!(plugin = plugin.name(), "plugin started");
            Ok(())
        }
        Ok(Err(reason)) => Err(format!("start: {}", readable(&reason))),
        Err(error) => Err(format!("start: {}", error.message())),
    }
}

/// Calls `stop` of a version that is no longer active.
pub(crate) async fn stop(router: &Router, plugin: &Plugin) {
    if !plugin.exports().lifecycle {
        return;
    }
    match plugin.stop(router.new_call("stop", "null")).await {
        Ok(()) => info!(plugin = plugin.name(), "plugin stopped"),
        Err(error) => {
            warn!(plugin = plugin.name(), "plugin did not stop cleanly: {}", error.message());
        }
    }
}

/// Calls `stop` of all plugins concurrently when the host stops, and waits for at most
/// [`LAST_STOPS`].
pub(crate) async fn stop_all(router: &Arc<Router>) {
    let mut stops = JoinSet::new();
    for slot in router.table().slots().values() {
        let (router, slot) = (Arc::clone(router), Arc::clone(slot));
        stops.spawn(async move {
            let view = slot.view();
            if let Some(active) = view.active.filter(|_| view.state != SlotStatus::NotStarted) {
                stop(&router, &active.loaded.plugin).await;
            }
        });
    }
    let all = async {
        while let Some(ended) = stops.join_next().await {
            report_panic(ended);
        }
    };
    if tokio::time::timeout(LAST_STOPS, all).await.is_err() {
        warn!("some plugins did not stop in time");
    }
}

/// Logs a panic of a task, which concerns only the plugin of that task.
pub(super) fn report_panic(ended: Result<(), JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!("the host has a fault: {error}");
    }
}

impl Swap {
    /// Starts all plugins when the host starts. A plugin that does not start serves no calls
    /// and is retried, while the others run.
    pub(super) fn start_all(&mut self) {
        for slot in self.router.table().slots().values() {
            let version = slot.view().active;
            if let Some(version) = version.filter(|it| it.loaded.plugin.exports().lifecycle) {
                let (router, slot) = (Arc::clone(&self.router), Arc::clone(slot));
                self.tasks.spawn(start_with_retries(router, slot, version, None));
            }
        }
    }

    /// Carries out the pending chores of all slots.
    pub(super) fn do_chores(&mut self) {
        for slot in self.router.table().slots().values() {
            self.do_chores_of(slot);
        }
    }

    /// Carries out the pending chores of a slot: stops replaced versions, and starts versions
    /// that became active again.
    pub(super) fn do_chores_of(&mut self, slot: &Arc<PluginSlot>) {
        for chore in slot.chores() {
            let router = Arc::clone(&self.router);
            match chore {
                Chore::Stop(version) => {
                    self.tasks.spawn(async move {
                        if version.idle().await {
                            stop(&router, &version.loaded.plugin).await;
                        }
                    });
                }
                Chore::StartAgain { version, instead_of } => {
                    let slot = Arc::clone(slot);
                    let before = Some(instead_of);
                    self.tasks.spawn(start_with_retries(router, slot, version, before));
                }
            }
        }
    }
}

/// Starts a version. Retries until it has started or another version is active.
pub(super) async fn start_with_retries(
    router: Arc<Router>,
    slot: Arc<PluginSlot>,
    version: Arc<Version<Plugin>>,
    before: Option<String>,
) {
    let mut pause = Backoff::new(FIRST_RETRY, MAX_RETRY);
    while slot.view().active.is_some_and(|active| active.number == version.number) {
        let start = start(&router, &version.loaded.plugin, before.as_deref());
        let outcome = caught(start).await;
        let outcome = outcome.unwrap_or_else(|panic| Err(format!("start: host fault: {panic}")));
        let error = outcome.err();
        let plugin = slot.name();
        if let Some(error) = &error {
            error!(plugin, version = version.number, "plugin disabled, it did not start: {error}");
        }
        let failed = error.is_some();
        if !slot.started(version.number, error) || !failed {
            return;
        }
        sleep(pause.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::router::tests::{router_in, stuck_call};

    fn router(directory: &tempfile::TempDir) -> Arc<Router> {
        router_in(directory.path(), "follows.wat", "limits.calls_at_once = 1")
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_capacity() {
        let directory = tempfile::tempdir().unwrap();
        let router = router(&directory);
        let plugin = router.plugins().remove(0);
        let mut running = Box::pin(plugin.stop(stuck_call()));
        assert!((&mut running).now_or_never().is_none());

        let free = async {
            sleep(CAPACITY_WAIT / 2).await;
            drop(running);
        };
        let (started, ()) = tokio::join!(start(&router, &plugin, None), free);
        assert_eq!(started, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_fails_if_the_capacity_does_not_become_free() {
        let directory = tempfile::tempdir().unwrap();
        let router = router(&directory);
        let plugin = router.plugins().remove(0);
        let mut running = Box::pin(plugin.stop(stuck_call()));
        assert!((&mut running).now_or_never().is_none());

        let begun = Instant::now();
        let error = start(&router, &plugin, None).await.unwrap_err();
        assert_eq!(error, "start: 1 calls are running, which is the limit");
        assert!(begun.elapsed() >= CAPACITY_WAIT);
    }
}
