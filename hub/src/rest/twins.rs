//! Handlers that read, patch and replace the twins of devices and modules.

use axum::extract::{Path, State as Extract};
use axum::http::HeaderMap;

use super::Rest;
use super::answer::{ApiResult, json};
use super::body::{JsonObject, device, if_match, module};
use crate::state::{Owner, TwinChange, TwinWrite};

pub(super) async fn get(Extract(rest): Extract<Rest>, Path(id): Path<String>) -> ApiResult {
    json(&*rest.state.get(&device(&id)?)?.twin_view())
}

pub(super) async fn get_module(
    Extract(rest): Extract<Rest>,
    Path((id, name)): Path<(String, String)>,
) -> ApiResult {
    json(&*rest.state.get(&module(&id, &name)?)?.twin_view())
}

pub(super) async fn patch(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: JsonObject,
) -> ApiResult {
    write(rest, device(&id)?, TwinWrite::Merge, &headers, body).await
}

pub(super) async fn put(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: JsonObject,
) -> ApiResult {
    write(rest, device(&id)?, TwinWrite::Replace, &headers, body).await
}

pub(super) async fn patch_module(
    Extract(rest): Extract<Rest>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: JsonObject,
) -> ApiResult {
    write(rest, module(&id, &name)?, TwinWrite::Merge, &headers, body).await
}

pub(super) async fn put_module(
    Extract(rest): Extract<Rest>,
    Path((id, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: JsonObject,
) -> ApiResult {
    write(rest, module(&id, &name)?, TwinWrite::Replace, &headers, body).await
}

async fn write(
    rest: Rest,
    owner: Owner,
    write: TwinWrite,
    headers: &HeaderMap,
    JsonObject(body): JsonObject,
) -> ApiResult {
    let change = TwinChange::parse(body)?;
    let if_match = if_match(headers);
    let entity = rest.run(move |rest| rest.twins.write(&owner, write, change, &if_match)).await?;
    json(&*entity.twin_view())
}
