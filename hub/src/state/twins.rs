//! Reads and changes of the twins in the registry.

use std::sync::Arc;

use protocol::error::{ErrorCode, HubError};
use protocol::twin::{DesiredPatch, DeviceTwin, PatchError};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::documents::QueuedChange;
use super::managed::Overlay;
use super::owner::Owner;
use super::record::{Entity, Part};
use super::twin::{TwinChange, TwinWrite, not_allowed};
use super::{IfMatch, State, etag};
use crate::stamps::now;

/// Reason why reported properties were not changed.
#[derive(Debug)]
pub(crate) enum NotReported {
    /// Another version than the expected one: the current version.
    Version(u64),
    /// A patch that violates a limit other than the size.
    Invalid,
    /// Properties that would become too large.
    Large,
    Failed(HubError),
}

impl State {
    /// Returns the view that a device or module has of its twin.
    pub(crate) fn device_twin(&self, owner: &Owner) -> Result<DeviceTwin, HubError> {
        let entity = self.get(owner)?;
        let (desired, reported) = (&entity.twin.desired, &entity.twin.reported);
        Ok(DeviceTwin {
            desired: desired.body.clone(),
            desired_version: desired.version,
            reported: reported.body.clone(),
            reported_version: reported.version,
        })
    }

    /// Merges reported properties and returns their new version.
    pub(crate) fn report(
        &self,
        owner: &Owner,
        patch: &Map<String, Value>,
    ) -> Result<u64, HubError> {
        self.change(owner, |entity| {
            self.apply_report(entity, patch).map_err(not_allowed)?;
            Ok((entity.twin.reported.version, &[Part::Twin]))
        })
    }

    /// Brings an overlay of configurations into force. Returns the patch that notifies the
    /// device, and the change on its way to the disk; `None` if nothing changes.
    pub(crate) fn overlay_twin(
        &self,
        owner: &Owner,
        overlay: &Overlay,
    ) -> Result<Option<(Option<DesiredPatch>, QueuedChange)>, HubError> {
        if self.get(owner)?.has_overlay(overlay) {
            return Ok(None);
        }
        let (changed, queued) = self.queue_change(owner, |entity| {
            let twin = &mut entity.twin;
            let Some(overlaid) = twin.managed.overlaid(&twin.desired, overlay, &now()) else {
                return Ok((None, &[]));
            };
            (twin.desired, twin.managed) = (overlaid.desired, overlaid.managed);
            if let Some(reason) = overlaid.refused {
                warn!(device = %owner, %reason, "configurations exceed a limit of the twin");
            }
            let notification = overlaid.patch.map(|patch| {
                twin.version += 1;
                twin.etag += 1;
                DesiredPatch { patch, version: twin.desired.version }
            });
            if let Some(DesiredPatch { patch, version }) = &notification {
                let desired = || with_version(patch, *version);
                let body = || json!({ "properties": { "desired": desired() } });
                self.publish_twin(entity, TwinWrite::Merge.operation(), body);
            }
            Ok((Some(notification), &[Part::Twin]))
        })?;
        Ok(changed.map(|notification| (notification, queued)))
    }

    fn apply_report(
        &self,
        entity: &mut Entity,
        patch: &Map<String, Value>,
    ) -> Result<(), PatchError> {
        let now = now();
        entity.twin.reported.apply(patch, &now)?;
        entity.twin.version += 1;
        entity.presence.last_activity = Some(now);
        let version = entity.twin.reported.version;
        self.publish_twin(
            entity,
            "updateTwin",
            || json!({ "properties": { "reported": with_version(patch, version) } }),
        );
        Ok(())
    }

    /// Merges reported properties if their version is `if_match`. Returns the new version.
    pub(crate) fn report_if(
        &self,
        owner: &Owner,
        if_match: u64,
        patch: &Map<String, Value>,
    ) -> Result<u64, NotReported> {
        let mut refusal = None;
        let changed = self.change(owner, |entity| {
            let version = entity.twin.reported.version;
            if version != if_match {
                refusal = Some(NotReported::Version(version));
                return Ok((version, &[]));
            }
            if let Err(error) = self.apply_report(entity, patch) {
                let is_large = matches!(error, PatchError::Size { .. });
                refusal = Some(if is_large { NotReported::Large } else { NotReported::Invalid });
                return Ok((version, &[]));
            }
            Ok((entity.twin.reported.version, &[Part::Twin]))
        });
        match (refusal, changed) {
            (Some(refusal), _) => Err(refusal),
            (None, changed) => changed.map_err(NotReported::Failed),
        }
    }

    /// Changes a twin on behalf of a service. Returns the new twin and, if desired properties
    /// were changed, the patch that notifies the device.
    pub(crate) fn write_twin(
        &self,
        owner: &Owner,
        write: TwinWrite,
        change: TwinChange,
        if_match: &IfMatch,
    ) -> Result<(Arc<Entity>, Option<DesiredPatch>), HubError> {
        let notification = self.change(owner, |entity| {
            if !if_match.matches(&etag::of_twin(entity.twin.etag)) {
                let text = format!("ETag mismatch for device ID '{}'", owner.device);
                return Err(HubError::new(ErrorCode::PreconditionFailed, text));
            }
            let (twin, notification) = entity.twin.written(write, change)?;
            let before = std::mem::replace(&mut entity.twin, twin);
            self.publish_twin(entity, write.operation(), || {
                let mut body = json!({});
                if entity.twin.tags != before.tags {
                    body["tags"] = json!(entity.twin.tags);
                }
                if let Some(DesiredPatch { patch, version }) = &notification {
                    body["properties"] = json!({ "desired": with_version(patch, *version) });
                }
                body
            });
            Ok((notification, &[Part::Twin]))
        })?;
        Ok((self.get(owner)?, notification))
    }
}

/// Returns a changed section with its version, as devices and listeners see it.
fn with_version(patch: &Map<String, Value>, version: u64) -> Value {
    let mut section = patch.clone();
    section.insert("$version".to_owned(), json!(version));
    Value::Object(section)
}
