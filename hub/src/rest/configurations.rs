//! Handlers of automatic device configurations.

use axum::extract::{Path, Query, State as Extract};
use axum::http::header::IF_MATCH;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use protocol::configuration::{Configuration, MAX_CONFIGURATIONS};
use serde::Deserialize;

use super::Rest;
use super::answer::{ApiError, ApiResult, json as answer, json_with_etag};
use super::body::{JsonObject, device, if_match};
use crate::configurations::{WriteCondition, check_queries};
use crate::refusal::Refusal;

#[derive(Deserialize)]
pub(super) struct ListedConfigurations {
    top: Option<usize>,
}

pub(super) async fn list(
    Extract(rest): Extract<Rest>,
    Query(ListedConfigurations { top }): Query<ListedConfigurations>,
) -> ApiResult {
    let top = top.unwrap_or(MAX_CONFIGURATIONS);
    answer(&rest.configurations.list(top))
}

pub(super) async fn get(Extract(rest): Extract<Rest>, Path(id): Path<String>) -> ApiResult {
    written(&rest.configurations.get(&id)?)
}

pub(super) async fn put(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> ApiResult {
    let header = headers.get(IF_MATCH).map(|value| value.to_str().unwrap_or_default());
    let condition = WriteCondition::of_put(header);
    let put = move |rest: &Rest| rest.configurations.put(&id, &condition, body);
    written(&rest.run(put).await?)
}

pub(super) async fn delete(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> ApiResult {
    let condition = WriteCondition::Match(if_match(&headers));
    rest.run(move |rest| rest.configurations.delete(&id, &condition)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn test_queries(JsonObject(body): JsonObject) -> ApiResult {
    let (condition, metrics) = check_queries(&body)?;
    answer(&serde_json::json!({
        "targetConditionError": condition,
        "customMetricQueryErrors": metrics,
    }))
}

/// Refuses the content, which IoT Hub accepts for IoT Edge devices only.
pub(super) async fn apply(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    _body: JsonObject,
) -> ApiResult {
    rest.state.get(&device(&id)?)?;
    let text = "The content provided for configuration is invalid. Please check and try again";
    Err(ApiError::from(Refusal::content(text)))
}

fn written(configuration: &Configuration) -> ApiResult {
    json_with_etag(configuration, configuration.etag.as_deref().unwrap_or_default())
}
