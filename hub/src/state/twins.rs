//! Twins in the registry: read, reported and written.

use std::sync::Arc;

use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;
use protocol::twin::{DesiredPatch, DeviceTwin};
use serde_json::{Map, Value};

use super::owner::Owner;
use super::record::{Entity, Part};
use super::twin::{TwinChange, TwinWrite, not_allowed};
use super::{IfMatch, State, etag};
use crate::stamps::now;

impl State {
    /// Returns the twin as its device sees it.
    pub(crate) fn device_twin(&self, id: &DeviceId) -> Result<DeviceTwin, HubError> {
        let entity = self.get(&Owner::device(id))?;
        let (desired, reported) = (&entity.twin.desired, &entity.twin.reported);
        Ok(DeviceTwin {
            desired: desired.body.clone(),
            desired_version: desired.version,
            reported: reported.body.clone(),
            reported_version: reported.version,
        })
    }

    /// Merges reported properties; returns the new version of the reported section.
    pub(crate) fn report(
        &self,
        id: &DeviceId,
        patch: &Map<String, Value>,
    ) -> Result<u64, HubError> {
        self.change(&Owner::device(id), |entity| {
            let now = now();
            entity.twin.reported.apply(patch, &now).map_err(not_allowed)?;
            entity.twin.version += 1;
            entity.presence.last_activity = Some(now);
            Ok((entity.twin.reported.version, &[Part::Twin]))
        })
    }

    /// Writes a twin for a service. Returns the new twin, and the notice to its
    /// device if desired properties were written.
    pub(crate) fn write_twin(
        &self,
        owner: &Owner,
        write: TwinWrite,
        change: TwinChange,
        if_match: &IfMatch,
    ) -> Result<(Arc<Entity>, Option<DesiredPatch>), HubError> {
        let notice = self.change(owner, |entity| {
            if !if_match.admits(&etag::of_twin(entity.twin.etag)) {
                let text = format!("ETag mismatch for device ID '{}'", owner.device);
                return Err(HubError::new(ErrorCode::PreconditionFailed, text));
            }
            let (twin, notice) = entity.twin.written(write, change)?;
            entity.twin = twin;
            Ok((notice, &[Part::Twin]))
        })?;
        Ok((self.get(owner)?, notice))
    }
}
