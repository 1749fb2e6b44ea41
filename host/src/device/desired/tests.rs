//! Tests of deliveries to real plugins, in which the test acts as the hub.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use plugin::{HostError, TwinAccess};

use protocol::topic::DeviceTopic;
use protocol::twin::DesiredPatch;
use serde_json::json;

use super::*;
use crate::Config;
use crate::plugins::slot::Slot;
use crate::plugins::{self, Loader};
use crate::router::{
    Table,
    tests::{lent, stuck_call},
};

/// Store without persistence.
#[derive(Default)]
struct InMemory(Mutex<HashMap<String, (Document, Option<String>)>>);

impl AcceptedDesired for InMemory {
    fn last(&self, plugin: &str) -> Option<Document> {
        self.0.lock().get(plugin).map(|(document, _)| document.clone())
    }

    fn rejected(&self, plugin: &str) -> Option<RejectedDesired> {
        let (document, rejected) = self.0.lock().get(plugin).cloned()?;
        Some(RejectedDesired { version: document.version, rejected: rejected? })
    }

    fn settle<'a>(
        &'a self,
        plugin: &'a str,
        document: Document,
        rejected: Option<String>,
    ) -> BoxFuture<'a, ()> {
        self.0.lock().insert(plugin.to_owned(), (document, rejected));
        Box::pin(std::future::ready(()))
    }
}

struct Rig {
    twin: Arc<Twin>,
    accepted: Arc<InMemory>,
    slot: Arc<PluginSlot>,
    changes: Changes,
    _delivers: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl Rig {
    /// Creates a rig with the plugin `follows.wat`, which reports each patch that it gets.
    fn new(settings: &str) -> Rig {
        Rig::lending(settings, |twin| twin)
    }

    /// Like [`Rig::new`], with a wrapper around the plugin's twin.
    fn lending(
        settings: &str,
        lend: impl FnOnce(Arc<dyn TwinAccess>) -> Arc<dyn TwinAccess>,
    ) -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let file = fixtures::write("follows.wat", directory.path());
        let text = format!("[plugins.p]\nfile = {file:?}\nmethods = [\"*\"]\n{settings}\n");
        let config = Config::parse(&text, directory.path()).unwrap();
        let loaded =
            plugins::load_all(&Loader::new(&config).unwrap(), &config).unwrap().remove("p");
        let changes = Changes::new(());
        let slot = Arc::new(Slot::new(
            "p",
            loaded.unwrap(),
            config.plugins["p"].patience,
            changes.clone(),
        ));
        let table = Table::new(&config.plugins, [("p".to_owned(), Arc::clone(&slot))].into());
        let twin = Arc::new(Twin::new("d1".parse().unwrap(), None));
        let lent = plugin::Lent { twin: lend(Arc::clone(&twin) as _), ..lent() };
        let router = Arc::new(Router::new(table, lent, None));
        let accepted = Arc::new(InMemory::default());
        let desired =
            Desired { router, twin: Arc::clone(&twin), accepted: Arc::clone(&accepted) as _ };
        let mut delivers = JoinSet::new();
        delivers.spawn(desired.run(changes.clone()));
        Rig { twin, accepted, slot, changes, _delivers: delivers, _directory: directory }
    }

    /// Delivers the whole twin, like the hub after a connection.
    fn fetched(&self, desired: Value, version: u64) {
        self.twin.connected();
        let DeviceTopic::TwinGet { rid } = self.twin.next().unwrap().topic else { panic!() };
        let mut desired = desired;
        desired["$version"] = version.into();
        let body = json!({"desired": desired, "reported": {"$version": 1}}).to_string();
        self.twin.answered(&rid, 200, None, body.as_bytes());
    }

    fn changed(&self, patch: Value, version: u64) {
        let patch = patch.as_object().unwrap().clone();
        self.twin.desired_changed(&DesiredPatch { patch, version });
    }

    /// Acknowledges the plugin's next report and returns it.
    async fn seen(&self) -> Value {
        loop {
            if let Some(request) = self.twin.next() {
                let DeviceTopic::TwinReport { rid } = request.topic else { panic!() };
                self.twin.answered(&rid, 204, Some(2), b"");
                let patch: Value = serde_json::from_slice(&request.body).unwrap();
                return patch["seen"].clone();
            }
            self.twin.ready().await;
        }
    }

    /// Waits until the slot shows a rejection of this version, or none.
    async fn until_shown(&self, version: Option<u64>) -> Option<RejectedDesired> {
        let mut changed = self.changes.subscribe();
        loop {
            let shown = self.slot.view().desired_rejected;
            if shown.as_ref().map(|shown| shown.version) == version {
                return shown;
            }
            changed.changed().await.unwrap();
        }
    }

    async fn until_accepted(&self, version: u64) {
        while self.accepted.last("p").map(|document| document.version) != Some(version) {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_plugin_gets_the_whole_document_first_and_then_only_changes() {
    let rig = Rig::new("");
    rig.fetched(json!({"a": 1, "b": {"c": 2}}), 3);
    assert_eq!(rig.seen().await, json!({"a": 1, "b": {"c": 2}}));
    rig.until_accepted(3).await;
    rig.changed(json!({"b": {"c": null, "d": 3}}), 4);
    assert_eq!(rig.seen().await, json!({"b": {"c": null, "d": 3}}));
}

#[tokio::test]
async fn changes_during_an_offline_period_are_delivered_in_one_patch() {
    let rig = Rig::new("");
    rig.fetched(json!({"a": 1, "b": 1}), 3);
    rig.seen().await;
    rig.until_accepted(3).await;
    rig.twin.lost(false);
    rig.fetched(json!({"a": 2, "c": 1}), 9);
    assert_eq!(rig.seen().await, json!({"a": 2, "b": null, "c": 1}));
    rig.until_accepted(9).await;
}

#[tokio::test]
async fn a_different_document_with_the_same_version_is_delivered() {
    let rig = Rig::new("");
    rig.fetched(json!({"a": 1, "b": 1}), 3);
    rig.seen().await;
    rig.until_accepted(3).await;
    rig.twin.lost(false);
    rig.fetched(json!({"a": 2}), 3);
    assert_eq!(rig.seen().await, json!({"a": 2, "b": null}));
}

#[tokio::test]
async fn a_change_that_was_undone_is_not_delivered() {
    let rig = Rig::new("");
    rig.fetched(json!({"a": 1}), 3);
    rig.seen().await;
    rig.until_accepted(3).await;
    rig.twin.lost(false);
    rig.fetched(json!({"a": 1}), 5);
    rig.until_accepted(5).await;
    assert!(rig.twin.is_reported());
}

#[tokio::test]
async fn a_delivery_is_retried_if_the_plugin_asks_for_it() {
    let rig = Rig::new("config.retry = true");
    rig.fetched(json!({"a": 1}), 3);
    assert_eq!(rig.seen().await, json!({"a": 1}));
    rig.until_accepted(3).await;
}

/// Twin that panics at its first report.
struct BrokenOnce(Arc<dyn TwinAccess>, AtomicBool);

impl TwinAccess for BrokenOnce {
    fn report<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        assert!(self.1.swap(true, Ordering::SeqCst), "the twin is broken");
        self.0.report(plugin, patch)
    }

    fn report_and_wait<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>> {
        self.0.report_and_wait(plugin, patch, timeout)
    }

    fn desired(&self) -> Result<Document, HostError> {
        self.0.desired()
    }

    fn reported(&self) -> Result<Document, HostError> {
        self.0.reported()
    }
}

#[tokio::test]
async fn a_panic_during_a_delivery_is_a_failed_attempt() {
    let rig = Rig::lending("", |twin| Arc::new(BrokenOnce(twin, AtomicBool::new(false))));
    rig.fetched(json!({"a": 1}), 3);
    assert_eq!(rig.seen().await, json!({"a": 1}));
    rig.until_accepted(3).await;
}

#[tokio::test(start_paused = true)]
async fn a_lack_of_capacity_uses_no_attempt() {
    let rig = Rig::new("limits.calls_at_once = 1");
    let plugin = rig.slot.view().active.unwrap().loaded.plugin.clone();
    let mut running = Box::pin(plugin.stop(stuck_call()));
    assert!((&mut running).now_or_never().is_none());
    rig.fetched(json!({"a": 1}), 3);
    // All attempts together take less time.
    sleep(2 * MAX_ATTEMPTS * LONGEST_PAUSE).await;

    drop(running);
    let seen = tokio::time::timeout(2 * LONGEST_PAUSE, rig.seen()).await;
    assert_eq!(seen.unwrap(), json!({"a": 1}));
}

#[tokio::test]
async fn a_rejected_change_is_not_delivered_again() {
    let rig = Rig::new("config.reject = true");
    rig.fetched(json!({"a": 1}), 3);
    rig.until_accepted(3).await;
    assert!(rig.twin.is_reported());
}

#[tokio::test]
async fn a_rejected_change_is_shown_with_its_version_and_reason() {
    let rig = Rig::new("config.reject = true");
    rig.fetched(json!({"a": 1}), 3);
    let shown = rig.until_shown(Some(3)).await.unwrap();
    assert!(!shown.rejected.is_empty());
    rig.until_accepted(3).await;

    let document = rig.twin.desired().unwrap();
    rig.accepted.settle("p", document, None).await;
    rig.twin.lost(false);
    rig.fetched(json!({"a": 1}), 4);
    rig.until_shown(None).await;
}
