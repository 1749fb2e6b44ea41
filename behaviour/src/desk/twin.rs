//! A device twin in memory that follows the rules of IoT Hub.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use parking_lot::{Mutex, MutexGuard};
use plugin::{Document, HostError, TwinAccess};
use protocol::twin::{PatchError, Section};
use serde_json::{Map, Value};

use super::record::{Action, Record};
use super::{Desk, EPOCH, TwinImage};

pub(super) struct Twin {
    desired: Mutex<Section>,
    reported: Mutex<Section>,
    offline: AtomicBool,
    /// `true` if the host has received the twin since its start.
    received: AtomicBool,
    record: Arc<Record>,
}

impl Twin {
    pub(super) fn new(desk: &Desk, record: Arc<Record>) -> Twin {
        Twin {
            desired: Mutex::new(desk.desired.clone()),
            reported: Mutex::new(desk.reported.clone()),
            offline: AtomicBool::new(desk.offline),
            received: AtomicBool::new(true),
            record,
        }
    }

    pub(super) fn reported_body(&self) -> Map<String, Value> {
        self.lock().body.clone()
    }

    /// Returns the desired and the reported properties.
    pub(super) fn images(&self) -> (TwinImage, TwinImage) {
        (image(&self.desired.lock()), image(&self.lock()))
    }

    pub(super) fn desired_version(&self) -> u64 {
        self.desired.lock().version
    }

    /// Applies a patch to the desired properties.
    pub(super) fn change_desired(&self, patch: &Map<String, Value>) -> Result<(), PatchError> {
        self.desired.lock().apply(patch, EPOCH)
    }

    /// Connects the device to the hub, which sends the twin, or disconnects it.
    pub(super) fn set_offline(&self, offline: bool) {
        self.offline.store(offline, Relaxed);
        self.received.fetch_or(!offline, Relaxed);
    }

    /// Discards the twin unless the device is connected. A host does not store the twin.
    pub(super) fn host_restarted(&self) {
        self.received.store(!self.offline.load(Relaxed), Relaxed);
    }

    /// Returns an error if the host has not received the twin yet.
    fn check_received(&self) -> Result<(), HostError> {
        self.received.load(Relaxed).then_some(()).ok_or(HostError::Offline)
    }

    fn lock(&self) -> MutexGuard<'_, Section> {
        self.reported.lock()
    }

    /// Merges a patch into the reported properties and returns their new version.
    fn apply(&self, patch: Map<String, Value>) -> Result<u64, HostError> {
        let mut reported = self.lock();
        // The timestamps are never read, so any value will do.
        reported.apply(&patch, EPOCH).map_err(|error| match &error {
            PatchError::Size { .. } => HostError::TooLarge(error.to_string()),
            _ => HostError::Invalid(error.to_string()),
        })?;
        let version = reported.version;
        drop(reported);
        self.record.add(Action::Reported(patch));
        Ok(version)
    }
}

impl TwinAccess for Twin {
    fn report<'a>(
        &'a self,
        _plugin: &'a str,
        patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(ready(self.apply(patch).map(|_version| ())))
    }

    fn report_and_wait<'a>(
        &'a self,
        _plugin: &'a str,
        patch: Map<String, Value>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>> {
        Box::pin(async move {
            // A host stores the patch and sends it after reconnecting, so the patch counts as
            // reported.
            let version = self.apply(patch)?;
            if self.offline.load(Relaxed) {
                tokio::time::sleep(timeout).await;
                return Err(HostError::Offline);
            }
            Ok(version)
        })
    }

    fn desired(&self) -> Result<Document, HostError> {
        self.check_received()?;
        Ok(document(&self.desired.lock()))
    }

    fn reported(&self) -> Result<Document, HostError> {
        self.check_received()?;
        Ok(document(&self.lock()))
    }
}

fn document(section: &Section) -> Document {
    let body = serde_json::to_string(&section.body).expect("a twin is JSON");
    Document { body, version: section.version }
}

fn image(section: &Section) -> TwinImage {
    TwinImage { properties: section.body.clone(), version: section.version }
}
