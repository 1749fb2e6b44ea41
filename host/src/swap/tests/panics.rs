//! Panics in calls of plugins during swaps. The task and the other plugins keep running.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::{Document, HostError, TwinAccess};
use serde_json::Map;
use tokio::time::timeout;

use super::*;

/// Timeout of each answer, long enough for a loaded machine.
const SOON: Duration = Duration::from_secs(10);

/// Twin that panics while its flag is set.
#[derive(Default)]
pub(crate) struct Broken(AtomicBool);

impl Broken {
    fn check(&self) -> Result<(), HostError> {
        assert!(!self.0.load(Ordering::SeqCst), "the twin is broken");
        Ok(())
    }

    fn set(&self, broken: bool) {
        self.0.store(broken, Ordering::SeqCst);
    }
}

impl TwinAccess for Broken {
    fn report<'a>(
        &'a self,
        _plugin: &'a str,
        _patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async { self.check() })
    }

    fn report_and_wait<'a>(
        &'a self,
        _plugin: &'a str,
        _patch: Map<String, Value>,
        _timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>> {
        Box::pin(async { self.check().map(|()| 1) })
    }

    fn desired(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }

    fn reported(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }
}

/// Creates a rig with a plugin `p` from this fixture, and a plugin `q` that must always
/// answer.
fn rig(fixture: &str, is_broken: bool) -> (Rig, Arc<Broken>) {
    let directory = tempfile::tempdir().unwrap();
    for (name, fixture) in [("p", fixture), ("q", "version-one.wat")] {
        fs::write(file(&directory, name), fixtures::guest(fixture)).unwrap();
    }
    let toml = section("p", "") + &section("q", "");
    fs::write(directory.path().join("host.toml"), toml).unwrap();
    let broken = Arc::new(Broken::default());
    broken.set(is_broken);
    let lent = plugin::Lent { twin: Arc::clone(&broken) as _, ..lent() };
    (Rig::start_with(directory, true, lent, Gate::default()), broken)
}

async fn check_other(rig: &Rig) {
    assert_eq!(timeout(SOON, rig.call("q")).await.unwrap(), says("one"));
}

fn last_error(rig: &Rig) -> String {
    rig.view("p").last_error.unwrap_or_default()
}

#[tokio::test]
async fn a_panic_in_the_first_start_disables_the_plugin_until_it_starts() {
    let (rig, broken) = rig("follows.wat", true);
    rig.until(|rig| rig.view("p").state == SlotStatus::NotStarted).await;
    assert!(last_error(&rig).contains("the twin is broken"), "{}", last_error(&rig));
    check_other(&rig).await;
    assert_eq!(timeout(SOON, rig.call("p")).await.unwrap().0, 503);

    broken.set(false);
    rig.until(|rig| rig.view("p").state == SlotStatus::Active).await;
}

#[tokio::test]
async fn a_panic_in_the_start_of_a_new_version_leaves_the_previous_one_active() {
    let (rig, _broken) = rig("version-one.wat", true);
    rig.replace("p", "follows.wat");
    rig.until(|rig| rig.view("p").last_error.is_some()).await;
    assert!(last_error(&rig).contains("the twin is broken"), "{}", last_error(&rig));
    check_other(&rig).await;
    assert_eq!(timeout(SOON, rig.call("p")).await.unwrap(), says("one"));

    rig.replace("p", "version-two.wat");
    rig.until_version("p", 2).await;
}

#[tokio::test]
async fn a_panic_in_the_stop_of_a_version_does_not_delay_the_next_one() {
    let (rig, broken) = rig("follows.wat", false);
    rig.until(|rig| rig.view("p").state == SlotStatus::Active).await;
    broken.set(true);
    rig.replace("p", "version-two.wat");
    rig.until_version("p", 2).await;
    check_other(&rig).await;

    rig.replace("p", "version-one.wat");
    rig.until_version("p", 3).await;
    timeout(SOON, stop_all(&rig.router)).await.unwrap();
}
