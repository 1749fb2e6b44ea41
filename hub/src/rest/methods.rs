//! Handlers that invoke direct methods.

use axum::extract::{Path, Request, State as Extract};
use protocol::error::{ErrorCode, HubError};
use protocol::method::{MAX_PAYLOAD_BYTES, MethodRequest};

use super::Rest;
use super::answer::{ApiResult, json};
use super::body::{Text, device, module, text};
use crate::state::Owner;

pub(super) async fn invoke(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    request: Request,
) -> ApiResult {
    invoke_method(&rest, &id, request).await
}

/// Invokes the method in the body of a request on the device `id`.
pub(super) async fn invoke_method(rest: &Rest, id: &str, request: Request) -> ApiResult {
    let body = text(request).await?;
    call(rest, &device(id)?, &body).await
}

pub(super) async fn invoke_module(
    Extract(rest): Extract<Rest>,
    Path((id, name)): Path<(String, String)>,
    Text(body): Text,
) -> ApiResult {
    call(&rest, &module(&id, &name)?, &body).await
}

async fn call(rest: &Rest, owner: &Owner, body: &str) -> ApiResult {
    let known = rest.state.get(owner)?;
    if !known.is_enabled() {
        return Err(HubError::new(ErrorCode::DeviceNotFound, owner.device.to_string()).into());
    }
    let request = parsed(body)?;
    json(&rest.methods.invoke(owner, &request).await?)
}

/// Parses an invocation, and checks the size of its payload.
fn parsed(body: &str) -> Result<MethodRequest, HubError> {
    let request = MethodRequest::from_json(body)?;
    let length = request.payload.get().len();
    if length > MAX_PAYLOAD_BYTES {
        let text =
            format!("the payload has {length} bytes; at most {MAX_PAYLOAD_BYTES} are allowed");
        return Err(HubError::new(ErrorCode::MessageTooLarge, text));
    }
    Ok(request)
}
