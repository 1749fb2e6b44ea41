//! Handlers that invoke direct methods.

use axum::extract::{Path, State as Extract};
use protocol::error::{ErrorCode, HubError};
use protocol::method::{MAX_PAYLOAD_BYTES, MethodRequest};

use super::Rest;
use super::answer::{ApiResult, json};
use super::body::{Text, device, module};

pub(super) async fn invoke(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    Text(body): Text,
) -> ApiResult {
    let owner = device(&id)?;
    let known = rest.state.get(&owner)?;
    if !known.is_enabled() {
        return Err(HubError::new(ErrorCode::DeviceNotFound, owner.device.to_string()).into());
    }
    let request = request(&body)?;
    json(&rest.methods.invoke(&owner.device, &request).await?)
}

/// Responds that the module is offline if it exists, since modules cannot connect to this
/// hub.
pub(super) async fn invoke_module(
    Extract(rest): Extract<Rest>,
    Path((id, name)): Path<(String, String)>,
    Text(body): Text,
) -> ApiResult {
    rest.state.get(&module(&id, &name)?)?;
    request(&body)?;
    let text = "Timed out waiting for device to connect.";
    Err(HubError::new(ErrorCode::DeviceNotOnline, text).into())
}

fn request(body: &str) -> Result<MethodRequest, HubError> {
    let request = MethodRequest::from_json(body)?;
    let length = request.payload.get().len();
    if length > MAX_PAYLOAD_BYTES {
        let text =
            format!("the payload has {length} bytes; at most {MAX_PAYLOAD_BYTES} are allowed");
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    Ok(request)
}
