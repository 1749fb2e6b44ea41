//! Direct methods: the call goes to the device's session, the answer comes back.

use axum::extract::{Path, State as Shared};
use protocol::error::{ErrorCode, HubError};
use protocol::method::{MAX_PAYLOAD_BYTES, MethodRequest};
use serde_json::{Map, Value};

use super::Rest;
use super::answer::{Answer, json};
use super::body::{JsonObject, device, module};

pub(super) async fn invoke(
    Shared(rest): Shared<Rest>,
    Path(id): Path<String>,
    JsonObject(body): JsonObject,
) -> Answer {
    let owner = device(&id)?;
    let known = rest.state.get(&owner)?;
    if !known.is_enabled() {
        return Err(HubError::new(ErrorCode::DeviceNotFound, owner.device.to_string()).into());
    }
    let request = request(body)?;
    json(&rest.sessions.invoke(&owner.device, &request).await?)
}

/// Modules are identities without connections here: one that exists is offline.
pub(super) async fn invoke_module(
    Shared(rest): Shared<Rest>,
    Path((id, name)): Path<(String, String)>,
    JsonObject(body): JsonObject,
) -> Answer {
    rest.state.get(&module(&id, &name)?)?;
    request(body)?;
    let text = "Timed out waiting for device to connect.";
    Err(HubError::new(ErrorCode::DeviceNotOnline, text).into())
}

fn request(body: Map<String, Value>) -> Result<MethodRequest, HubError> {
    let request = MethodRequest::from_json(body)?;
    // Counted as it will be written to the device.
    let length = serde_json::to_vec(&request.payload).map_or(usize::MAX, |payload| payload.len());
    if length > MAX_PAYLOAD_BYTES {
        let text = format!("the payload has {length} bytes, {MAX_PAYLOAD_BYTES} are allowed");
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    Ok(request)
}
