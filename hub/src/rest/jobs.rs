//! Handlers of jobs.

use axum::extract::{Path, Query, State as Extract};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use protocol::rest::{HEADER_CONTINUATION, HEADER_ITEM_TYPE};
use serde::Deserialize;
use serde_json::json;

use super::Rest;
use super::answer::{ApiError, ApiResult, json as answer};
use super::body::Text;
use super::query::rows;
use crate::jobs::JobSelection;

/// The filters of a list; names are compared without case.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListedJobs {
    job_type: Option<String>,
    job_status: Option<String>,
}

pub(super) async fn create(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    Text(body): Text,
) -> ApiResult {
    let job = rest.run(move |rest| rest.jobs.create(&id, &body)).await?;
    rest.jobs.start(&job.job_id);
    answer(&json!({"jobId": job.job_id, "type": job.kind, "status": job.status}))
}

pub(super) async fn get(Extract(rest): Extract<Rest>, Path(id): Path<String>) -> ApiResult {
    answer(&rest.jobs.get(&id)?)
}

pub(super) async fn cancel(Extract(rest): Extract<Rest>, Path(id): Path<String>) -> ApiResult {
    answer(&rest.run(move |rest| rest.jobs.cancel(&id)).await?)
}

pub(super) async fn list(
    Extract(rest): Extract<Rest>,
    Query(ListedJobs { job_type, job_status }): Query<ListedJobs>,
    headers: HeaderMap,
) -> ApiResult {
    let size = rows(&headers)?;
    let start = match headers.get(HEADER_CONTINUATION).map(HeaderValue::to_str) {
        None | Some(Ok("")) => 0,
        Some(text) => text.ok().and_then(|text| text.parse::<usize>().ok()).ok_or_else(|| {
            ApiError::invalid(format!("{HEADER_CONTINUATION} is not a token of this hub"))
        })?,
    };
    let mut jobs = rest.jobs.list(&JobSelection::new(job_type, job_status));
    let more = jobs.len() > start.saturating_add(size);
    let page: Vec<_> = jobs.drain(start.min(jobs.len())..).take(size).collect();
    let mut response = answer(&page)?;
    let headers = response.headers_mut();
    let name = HeaderName::from_static;
    headers.insert(name(HEADER_ITEM_TYPE), HeaderValue::from_static("JobResponse"));
    if more {
        headers.insert(name(HEADER_CONTINUATION), HeaderValue::from(start + size));
    }
    Ok(response)
}
