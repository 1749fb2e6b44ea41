//! Handler of queries, which returns one page at a time.
//!
//! The continuation token contains the id of the last item on the previous page. The hub
//! keeps no state between pages, so tokens never expire.

use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Path, State as Extract};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::error::{ErrorCode, HubError};
use protocol::rest::{HEADER_CONTINUATION, HEADER_ITEM_TYPE, HEADER_MAX_ITEM_COUNT};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Rest;
use super::answer::{ApiError, ApiResult, json};
use super::body::JsonObject;
use crate::query::{self, Query, Source};
use crate::state::{Owner, State};

/// Number of rows on a page if the request has no [`HEADER_MAX_ITEM_COUNT`].
const DEFAULT_ROWS: usize = 100;

/// Maximum number of rows on a page.
const MAX_ROWS: usize = 1000;

pub(super) async fn run(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonObject(body): JsonObject,
) -> ApiResult {
    if id != "query" {
        let message = "this hub supports POST of /devices/query only";
        return Err(ApiError::with_status(StatusCode::METHOD_NOT_ALLOWED, message));
    }
    let text = body.get("query").and_then(Value::as_str);
    let text = text.ok_or_else(|| ApiError::invalid("`query` is missing or not a string"))?;
    let query = query::parse(text).map_err(|error| ApiError::invalid(error.to_string()))?;
    let item_type = match (query.returns_whole_items(), query.source()) {
        (false, _) => "Raw",
        (true, Source::Jobs) => "DeviceJob",
        (true, Source::Devices | Source::Modules) => "Twin",
    };
    let rows = rows(&headers)?;
    let start = continuation(&headers)?;
    let state = Arc::clone(&rest.state);
    // A query over thousands of devices takes long and must not delay other requests.
    let page = tokio::task::spawn_blocking(move || page(&state, &query, &start, rows)).await;
    let (rows, next) = page.map_err(|_| {
        HubError::new(ErrorCode::ServerError, "the query panicked; the hub's log has the reason")
    })?;

    let mut response = json(&rows)?;
    let headers = response.headers_mut();
    let name = HeaderName::from_static;
    headers.insert(name(HEADER_ITEM_TYPE), HeaderValue::from_static(item_type));
    // The last page has no header, which ends the loop in clients.
    if let Some(next) = next.and_then(|next| HeaderValue::try_from(next.to_string()).ok()) {
        headers.insert(name(HEADER_CONTINUATION), next);
    }
    Ok(response)
}

fn page(
    state: &State,
    query: &Query,
    start: &Continuation,
    rows: usize,
) -> (Vec<Value>, Option<Continuation>) {
    if query.source() == Source::Jobs {
        let parts = state.device_jobs_after(start.after.as_deref());
        let parts = parts.into_iter().map(|(key, part)| (key, Arc::new(serde_json::json!(*part))));
        let page = query.page(parts, start.returned, rows);
        let next =
            page.next.map(|next| Continuation { after: next.after, returned: next.returned });
        return (page.rows, next);
    }
    let after = start.after.as_deref().and_then(Owner::parse);
    let twins = state
        .after(after.as_ref())
        .into_iter()
        .filter(|entity| entity.owner.module.is_some() == (query.source() == Source::Modules))
        .map(|entity| (entity.owner.clone(), entity.twin_view()));
    let page = query.page(twins, start.returned, rows);
    let next = page.next.map(|next| Continuation {
        after: next.after.map(|owner| owner.to_string()),
        returned: next.returned,
    });
    (page.rows, next)
}

pub(super) fn rows(headers: &HeaderMap) -> Result<usize, ApiError> {
    let Some(value) = headers.get(HEADER_MAX_ITEM_COUNT) else { return Ok(DEFAULT_ROWS) };
    let wanted = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    match wanted {
        Some(rows @ 1..) => Ok(MAX_ROWS.min(rows)),
        _ => Err(ApiError::invalid(format!("{HEADER_MAX_ITEM_COUNT} is not a positive integer"))),
    }
}

fn continuation(headers: &HeaderMap) -> Result<Continuation, ApiError> {
    let text = headers.get(HEADER_CONTINUATION).map(HeaderValue::to_str);
    match text {
        None | Some(Ok("")) => Ok(Continuation::default()),
        Some(Ok(text)) => text.parse().map_err(|UnknownContinuation| unknown_continuation()),
        Some(Err(_)) => Err(unknown_continuation()),
    }
}

fn unknown_continuation() -> ApiError {
    ApiError::invalid(format!("{HEADER_CONTINUATION} is not a token of this hub"))
}

/// Continuation token of a page. Opaque to callers.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Continuation {
    /// Last item on the previous page: `DEVICE`, `DEVICE/MODULE` or `JOB/DEVICE`.
    after: Option<String>,
    /// Number of rows on all previous pages.
    returned: usize,
}

impl std::fmt::Display for Continuation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = serde_json::to_string(self).map_err(|_| std::fmt::Error)?;
        f.write_str(&STANDARD.encode(text))
    }
}

/// Parses a continuation token and checks that it survives a round trip. For fuzzing only.
pub(crate) fn check_continuation(text: &str) {
    if let Ok(continuation) = text.parse::<Continuation>() {
        let again = continuation.to_string().parse::<Continuation>();
        assert!(again.is_ok_and(|again| again == continuation), "{text:?}");
    }
}

/// Error for a continuation token that this hub did not create.
struct UnknownContinuation;

impl FromStr for Continuation {
    type Err = UnknownContinuation;

    fn from_str(text: &str) -> Result<Continuation, UnknownContinuation> {
        let json = STANDARD.decode(text).map_err(|_| UnknownContinuation)?;
        serde_json::from_slice(&json).map_err(|_| UnknownContinuation)
    }
}
