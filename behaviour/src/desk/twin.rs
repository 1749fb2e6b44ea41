//! A device twin in memory that follows the rules of IoT Hub.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use parking_lot::{Mutex, MutexGuard};
use plugin::{Document, HostError, TwinAccess};
use protocol::twin::{PatchError, Section};
use serde_json::{Map, Value};

use super::record::{Action, Record};
use super::{Desk, EPOCH};

pub(super) struct Twin {
    desired: Section,
    reported: Mutex<Section>,
    offline: bool,
    record: Arc<Record>,
}

impl Twin {
    pub(super) fn new(desk: &Desk, record: Arc<Record>) -> Twin {
        Twin {
            desired: desk.desired.clone(),
            reported: Mutex::new(desk.reported.clone()),
            offline: desk.offline,
            record,
        }
    }

    pub(super) fn reported_body(&self) -> Map<String, Value> {
        self.lock().body.clone()
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
            if self.offline {
                tokio::time::sleep(timeout).await;
                return Err(HostError::Offline);
            }
            Ok(version)
        })
    }

    fn desired(&self) -> Result<Document, HostError> {
        Ok(document(&self.desired))
    }

    fn reported(&self) -> Result<Document, HostError> {
        Ok(document(&self.lock()))
    }
}

fn document(section: &Section) -> Document {
    let body = serde_json::to_string(&section.body).expect("a twin is JSON");
    Document { body, version: section.version }
}
