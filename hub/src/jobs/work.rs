//! The work of a job on one device.

use std::sync::Arc;

use json::Json;
use protocol::error::{ErrorCode, HubError};
use protocol::job::{DeviceJob, DeviceJobError, DeviceJobOutcome, DeviceJobStatus, Job, JobKind};
use protocol::method::{MethodRequest, MethodResult};

use super::{Jobs, request};
use crate::stamps::now;
use crate::state::{IfMatch, Owner, TwinWrite};

impl Jobs {
    /// Performs the work of a job on a device. Returns its part with the outcome.
    pub(super) async fn work(self: &Arc<Self>, job: &Job, part: DeviceJob) -> DeviceJob {
        let started = DeviceJob {
            status: DeviceJobStatus::Running,
            start_time_utc: Some(now()),
            last_updated_date_time_utc: now(),
            ..part
        };
        self.state.show_device_job(started.clone());
        let owner = Owner { device: started.device_id.clone(), module: started.module_id.clone() };
        let outcome = match job.kind {
            JobKind::ScheduleDeviceMethod => {
                self.call(&owner, job.cloud_to_device_method.as_ref()).await.map(Some)
            }
            JobKind::ScheduleUpdateTwin | JobKind::Unknown => {
                self.patch(owner, job.update_twin.clone()).await.map(|()| None)
            }
        };
        ended(started, outcome)
    }

    async fn call(&self, owner: &Owner, method: Option<&Json>) -> Result<MethodResult, HubError> {
        let entity = self.state.get(owner)?;
        if !entity.is_enabled() {
            return Err(HubError::new(ErrorCode::DeviceNotFound, owner.device.to_string()));
        }
        let request = MethodRequest::from_json(method.map(Json::get).unwrap_or_default())?;
        let outcome = self.methods.invoke(owner, &request).await;
        outcome.map_err(|error| match error.code {
            ErrorCode::DeviceNotOnline => not_online(),
            _ => error,
        })
    }

    async fn patch(self: &Arc<Self>, owner: Owner, twin: Option<Json>) -> Result<(), HubError> {
        let this = Arc::clone(self);
        let write = move || {
            let change = request::change(&twin.unwrap_or_default())?;
            this.twins.write(&owner, TwinWrite::Merge, change, &IfMatch::Any).map(drop)
        };
        let panicked = |_| HubError::new(ErrorCode::ServerError, "the change panicked");
        tokio::task::spawn_blocking(write).await.map_err(panicked)?
    }
}

/// Returns the part of a device with its outcome.
pub(super) fn ended(part: DeviceJob, outcome: Result<Option<MethodResult>, HubError>) -> DeviceJob {
    let ended = DeviceJob {
        end_time_utc: Some(now()),
        last_updated_date_time_utc: now(),
        status: DeviceJobStatus::Completed,
        ..part
    };
    match outcome {
        Ok(answer) => {
            DeviceJob { outcome: DeviceJobOutcome { device_method_response: answer }, ..ended }
        }
        Err(HubError { code, message, .. }) => DeviceJob {
            status: DeviceJobStatus::Failed,
            error: Some(DeviceJobError { code: code.number().to_string(), description: message }),
            ..ended
        },
    }
}

fn not_online() -> HubError {
    let text = "Timed out waiting for the requested device to connect.";
    HubError::new(ErrorCode::DeviceNotOnline, text)
}
