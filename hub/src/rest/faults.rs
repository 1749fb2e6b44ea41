//! The paths `/$faults` and `/$faults/ID`, which set, list and remove faults. They do not exist in Azure
//! IoT Hub.

use std::time::Duration;

use axum::extract::{Path, Request, State as Extract};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;
use serde::Serialize;
use serde_json::Value;

use super::Rest;
use super::answer::{ApiError, ApiResult, json};
use super::body::JsonObject;
use crate::faults::{ControlRequest, Fault, FaultId, FaultJson, Faults, Step, is_control_path};
use crate::sessions::Ending;
use crate::state::Owner;

/// Delay before a simulated restart, so that the response can be sent first.
const RESTART_DELAY: Duration = Duration::from_millis(100);

/// Fault in the list.
#[derive(Serialize)]
struct ListedFault {
    id: FaultId,
    #[serde(flatten)]
    fault: FaultJson,
}

/// Lists the active faults and the number of faults that have happened.
pub(super) async fn list(Extract(rest): Extract<Rest>) -> ApiResult {
    let faults = &rest.faults;
    let listed = |(id, fault): &(FaultId, Fault)| ListedFault { id: *id, fault: fault.into() };
    let waiting: Vec<_> = faults.numbered().iter().map(listed).collect();
    json(&serde_json::json!({"waiting": waiting, "happened": faults.happened()}))
}

/// Removes all faults.
pub(super) async fn clear(Extract(rest): Extract<Rest>) -> StatusCode {
    rest.faults.clear();
    StatusCode::NO_CONTENT
}

/// Removes a fault.
pub(super) async fn remove(Extract(rest): Extract<Rest>, Path(id): Path<String>) -> ApiResult {
    let number = id.parse::<u64>().ok().map(FaultId::from);
    match number.is_some_and(|number| rest.faults.remove(number)) {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => {
            let text = format!("no fault `{id}` is set; it may have happened or expired");
            Err(ApiError::with_status(StatusCode::NOT_FOUND, &text))
        }
    }
}

/// Sets a fault, or performs it if it has no step.
pub(super) async fn set(Extract(rest): Extract<Rest>, JsonObject(body): JsonObject) -> ApiResult {
    let request = ControlRequest::parse(Value::Object(body)).map_err(ApiError::invalid)?;
    let sessions = &rest.sessions;
    let connected = |was_connected: bool, device: DeviceId| match was_connected {
        true => Ok(()),
        false => {
            let text = format!("device `{device}` is not connected");
            Err(HubError::new(ErrorCode::DeviceNotOnline, text))
        }
    };
    match request {
        ControlRequest::Fault(fault) => {
            rest.faults.set(fault).map_err(|error| ApiError::invalid(error.to_string()))?;
        }
        ControlRequest::Drop(id) => {
            connected(sessions.end(&Owner::device(&id), Ending::Dropped), id)?;
        }
        ControlRequest::Disconnect(id, reason) => {
            let ended = sessions.end(&Owner::device(&id), Ending::Disconnected(reason));
            connected(ended, id)?;
        }
        ControlRequest::HalfOpen(id, time) => {
            connected(sessions.silence(&Owner::device(&id), time), id)?;
        }
        ControlRequest::ExpireToken(id) => {
            connected(sessions.expire_token(&Owner::device(&id)), id)?;
        }
        ControlRequest::Restart { down, forget } => {
            tokio::spawn(async move {
                tokio::time::sleep(RESTART_DELAY).await;
                let restart = move |rest: &Rest| {
                    rest.sessions.restart(down, forget, || rest.state.forget(forget))
                };
                if let Err(error) = rest.run(restart).await {
                    tracing::warn!(error = error.message, "the restart did not reset the state");
                }
            });
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Layer that applies a matching fault to a request.
pub(super) async fn disturb(
    Extract(rest): Extract<Rest>,
    request: Request,
    next: Next,
) -> Response {
    match apply(&rest.faults, request.uri().path()).await {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    }
}

/// Applies a matching fault to a request for `path`: delays it, or returns an error.
pub(super) async fn apply(faults: &Faults, path: &str) -> Result<(), ApiError> {
    if is_control_path(path) {
        return Ok(());
    }
    let device = path.split('/').nth(2).and_then(|id| id.parse::<DeviceId>().ok());
    let handling = faults.handling(Step::Request, device.as_ref());
    if handling.is_throttled() {
        let error = HubError::new(ErrorCode::ThrottlingException, "throttled by a fault");
        return Err(error.into());
    }
    if !handling.delay.is_zero() {
        tokio::time::sleep(handling.delay).await;
    }
    Ok(())
}
