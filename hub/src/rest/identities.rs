//! Handlers that create, read, update and delete the identities of devices and modules.

use axum::extract::{Path, Query, State as Extract};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use protocol::error::HubError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Rest;
use super::answer::{ApiError, ApiResult, json as answer, json_with_etag};
use super::body::{JsonObject, device, if_match, module};
use crate::sessions::Ending;
use crate::state::{Entity, IdentityRequest, IfMatch, Owner};

/// Maximum number of listed devices, as in IoT Hub.
const MAX_LISTED: usize = 1000;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    top: Option<usize>,
}

pub(super) async fn list(
    Extract(rest): Extract<Rest>,
    Query(ListQuery { top }): Query<ListQuery>,
) -> ApiResult {
    let devices = rest.state.devices(top.unwrap_or(MAX_LISTED).min(MAX_LISTED));
    answer(&devices.iter().map(|device| device.identity_view()).collect::<Vec<_>>())
}

pub(super) async fn get(Extract(rest): Extract<Rest>, Path(id): Path<String>) -> ApiResult {
    let device = rest.state.get(&device(&id)?)?;
    json_with_etag(&device.identity_view(), &device.identity_etag())
}

pub(super) async fn put(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> ApiResult {
    let device = write(&rest, device(&id)?, &headers, body).await?;
    json_with_etag(&device.identity_view(), &device.identity_etag())
}

pub(super) async fn delete(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    remove(&rest, device(&id)?, &headers).await
}

pub(super) async fn list_modules(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
) -> ApiResult {
    let modules = rest.state.modules(&device(&id)?.device)?;
    answer(&modules.iter().map(|module| module.identity_view()).collect::<Vec<_>>())
}

// Unlike for devices, IoT Hub sends no `ETag` header for modules.
pub(super) async fn get_module(
    Extract(rest): Extract<Rest>,
    Path((id, name)): Path<(String, String)>,
) -> ApiResult {
    answer(&rest.state.get(&module(&id, &name)?)?.identity_view())
}

pub(super) async fn put_module(
    Extract(rest): Extract<Rest>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> ApiResult {
    answer(&write(&rest, module(&id, &name)?, &headers, body).await?.identity_view())
}

pub(super) async fn delete_module(
    Extract(rest): Extract<Rest>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult {
    remove(&rest, module(&id, &name)?, &headers).await
}

pub(super) async fn statistics(Extract(rest): Extract<Rest>) -> ApiResult {
    let count = rest.state.statistics();
    answer(&json!({
        "totalDeviceCount": count.enabled + count.disabled,
        "enabledDeviceCount": count.enabled,
        "disabledDeviceCount": count.disabled,
    }))
}

pub(super) async fn connected(Extract(rest): Extract<Rest>) -> ApiResult {
    answer(&json!({ "connectedDeviceCount": rest.state.statistics().connected }))
}

/// Creates an identity if the request has no condition, otherwise updates it.
async fn write(
    rest: &Rest,
    owner: Owner,
    headers: &HeaderMap,
    body: Map<String, Value>,
) -> Result<std::sync::Arc<Entity>, ApiError> {
    let request: IdentityRequest = serde_json::from_value(Value::Object(body))
        .map_err(|error| ApiError::invalid(format!("identity: {error}")))?;
    let same = request.device_id.as_deref().is_none_or(|id| id == owner.device.as_ref())
        && request
            .module_id
            .as_deref()
            .is_none_or(|id| owner.module.as_ref().is_none_or(|module| id == module.as_ref()));
    if !same {
        return Err(ApiError::invalid("the ids in the path and in the body differ"));
    }
    let if_match = if_match(headers);
    Ok(rest.run(move |rest| rest.write_identity(&owner, &request, &if_match)).await?)
}

async fn remove(rest: &Rest, owner: Owner, headers: &HeaderMap) -> ApiResult {
    let if_match = if_match(headers);
    rest.run(move |rest| rest.delete_identity(&owner, &if_match)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Rest {
    /// Creates or updates an identity. Ends the connection of a disabled device.
    pub(super) fn write_identity(
        &self,
        owner: &Owner,
        request: &IdentityRequest,
        if_match: &IfMatch,
    ) -> Result<std::sync::Arc<Entity>, HubError> {
        if *if_match == IfMatch::Absent {
            return self.state.create(owner, request);
        }
        let entity = self.state.update(owner, request, if_match)?;
        if !entity.is_enabled() {
            self.revoke(owner);
        }
        Ok(entity)
    }

    /// Deletes an identity. Ends the connection of a deleted device.
    pub(super) fn delete_identity(
        &self,
        owner: &Owner,
        if_match: &IfMatch,
    ) -> Result<(), HubError> {
        self.state.delete(owner, if_match)?;
        self.revoke(owner);
        Ok(())
    }

    /// Ends the connection of a module, or those of a device and of its modules.
    fn revoke(&self, owner: &Owner) {
        match owner.module {
            Some(_) => _ = self.sessions.end(owner, Ending::Revoked),
            None => self.sessions.end_device(&owner.device, Ending::Revoked),
        }
    }
}
