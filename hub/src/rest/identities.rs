//! Identities of devices and modules: made, changed, read and removed.

use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use protocol::error::HubError;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Rest;
use super::answer::{Answer, Failure, json as answer, json_with_etag};
use super::body::{JsonObject, device, if_match, module};
use crate::state::{Entity, IdentityRequest, IfMatch, Owner};

/// Devices of one listing; the service gives no more either.
const MAX_LISTED: usize = 1000;

#[derive(Deserialize)]
pub(super) struct Top {
    top: Option<usize>,
}

pub(super) async fn list(Shared(rest): Shared<Rest>, Query(Top { top }): Query<Top>) -> Answer {
    let devices = rest.state.devices(top.unwrap_or(MAX_LISTED).min(MAX_LISTED));
    answer(&devices.iter().map(|device| device.identity_view()).collect::<Vec<_>>())
}

pub(super) async fn get(Shared(rest): Shared<Rest>, Path(id): Path<String>) -> Answer {
    let device = rest.state.get(&device(&id)?)?;
    json_with_etag(&device.identity_view(), &device.identity_etag())
}

pub(super) async fn put(
    Shared(rest): Shared<Rest>,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> Answer {
    let device = write(&rest, device(&id)?, &headers, body).await?;
    json_with_etag(&device.identity_view(), &device.identity_etag())
}

pub(super) async fn delete(
    Shared(rest): Shared<Rest>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Answer {
    remove(&rest, device(&id)?, &headers).await
}

pub(super) async fn list_modules(Shared(rest): Shared<Rest>, Path(id): Path<String>) -> Answer {
    let modules = rest.state.modules(&device(&id)?.device)?;
    answer(&modules.iter().map(|module| module.identity_view()).collect::<Vec<_>>())
}

// Modules' answers have no ETag header: the service gives none.
pub(super) async fn get_module(
    Shared(rest): Shared<Rest>,
    Path((id, name)): Path<(String, String)>,
) -> Answer {
    answer(&rest.state.get(&module(&id, &name)?)?.identity_view())
}

pub(super) async fn put_module(
    Shared(rest): Shared<Rest>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> Answer {
    answer(&write(&rest, module(&id, &name)?, &headers, body).await?.identity_view())
}

pub(super) async fn delete_module(
    Shared(rest): Shared<Rest>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    remove(&rest, module(&id, &name)?, &headers).await
}

pub(super) async fn statistics(Shared(rest): Shared<Rest>) -> Answer {
    let count = rest.state.statistics();
    answer(&json!({
        "totalDeviceCount": count.enabled + count.disabled,
        "enabledDeviceCount": count.enabled,
        "disabledDeviceCount": count.disabled,
    }))
}

pub(super) async fn connected(Shared(rest): Shared<Rest>) -> Answer {
    answer(&json!({ "connectedDeviceCount": rest.state.statistics().connected }))
}

/// Without a condition the identity is new; with one it is there already.
async fn write(
    rest: &Rest,
    owner: Owner,
    headers: &HeaderMap,
    body: Map<String, Value>,
) -> Result<std::sync::Arc<Entity>, Failure> {
    let request: IdentityRequest = serde_json::from_value(Value::Object(body))
        .map_err(|error| Failure::invalid(format!("identity: {error}")))?;
    let same = request.device_id.as_deref().is_none_or(|id| id == owner.device.as_ref())
        && request
            .module_id
            .as_deref()
            .is_none_or(|id| owner.module.as_ref().is_none_or(|module| id == module.as_ref()));
    if !same {
        return Err(Failure::invalid("the ids in the path and in the body are not the same"));
    }
    let if_match = if_match(headers);
    Ok(rest.run(move |rest| rest.write_identity(&owner, &request, &if_match)).await?)
}

async fn remove(rest: &Rest, owner: Owner, headers: &HeaderMap) -> Answer {
    let if_match = if_match(headers);
    rest.run(move |rest| rest.delete_identity(&owner, &if_match)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl Rest {
    /// Makes or changes an identity; a device that may no longer connect is
    /// dropped.
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
        if !entity.is_enabled() && owner.module.is_none() {
            self.sessions.disconnect(&owner.device);
        }
        Ok(entity)
    }

    /// Removes an identity; its device is dropped.
    pub(super) fn delete_identity(
        &self,
        owner: &Owner,
        if_match: &IfMatch,
    ) -> Result<(), HubError> {
        self.state.delete(owner, if_match)?;
        if owner.module.is_none() {
            self.sessions.disconnect(&owner.device);
        }
        Ok(())
    }
}
