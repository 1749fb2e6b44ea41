//! Handlers of cloud-to-device messages: sending, purging and feedback.

use axum::extract::{Path, State as Extract};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse as _;
use protocol::cloud_to_device::{FEEDBACK_TYPE, PurgeResult};
use protocol::http_message::{BATCH_TYPE, HttpMessage, HttpMessageError, header_of};
use protocol::id::DeviceId;
use protocol::properties::MessageProperties;
use protocol::rest::decoded;

use super::Rest;
use super::answer::{ApiError, ApiResult, json};
use super::body::{Binary, device};
use crate::stamps::now_ms;

/// Sends a message to the device in the path.
pub(super) async fn send(
    Extract(rest): Extract<Rest>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Binary(body): Binary,
) -> ApiResult {
    queue(rest, device(&id)?.device, parse(&headers, &body)?).await
}

/// Sends a message to the device in its property `$.to`.
pub(super) async fn send_to(
    Extract(rest): Extract<Rest>,
    headers: HeaderMap,
    Binary(body): Binary,
) -> ApiResult {
    let message = parse(&headers, &body)?;
    let to = message.properties.get(MessageProperties::TO).and_then(addressee);
    let device = to.ok_or_else(|| {
        ApiError::invalid("iothub-to must be `/devices/DEVICE/messages/devicebound`")
    })?;
    queue(rest, device, message).await
}

async fn queue(rest: Rest, device: DeviceId, message: HttpMessage) -> ApiResult {
    let send = move |rest: &Rest| rest.cloud_to_device.send(&device, message, now_ms());
    let id = rest.run(send).await?;
    let header = HeaderName::try_from(header_of(MessageProperties::MESSAGE_ID));
    let mut response = StatusCode::NO_CONTENT.into_response();
    if let (Ok(header), Ok(id)) = (header, HeaderValue::from_str(&id)) {
        response.headers_mut().insert(header, id);
    }
    Ok(response)
}

/// Removes all messages of a device.
pub(super) async fn purge(Extract(rest): Extract<Rest>, Path(id): Path<String>) -> ApiResult {
    let device = device(&id)?.device;
    let device_id = device.to_string();
    let total = rest.run(move |rest| rest.cloud_to_device.purge(&device)).await?;
    json(&PurgeResult { total_messages_purged: total, device_id, module_id: None })
}

/// Returns a batch of feedback with its lock as the etag.
pub(super) async fn feedback(Extract(rest): Extract<Rest>) -> ApiResult {
    let Some((lock, records)) = rest.cloud_to_device.feedback().receive() else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let mut response = json(&records)?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(FEEDBACK_TYPE));
    if let Ok(etag) = HeaderValue::try_from(format!("\"{lock}\"")) {
        headers.insert(ETAG, etag);
    }
    Ok(response)
}

pub(super) async fn complete_feedback(
    Extract(rest): Extract<Rest>,
    Path(lock): Path<String>,
) -> ApiResult {
    rest.cloud_to_device.feedback().complete(&lock)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn abandon_feedback(
    Extract(rest): Extract<Rest>,
    Path(lock): Path<String>,
) -> ApiResult {
    rest.cloud_to_device.feedback().abandon(&lock)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Parses a message in headers and body, or in a batch of one message.
fn parse(headers: &HeaderMap, body: &[u8]) -> Result<HttpMessage, ApiError> {
    let invalid = |error: HttpMessageError| ApiError::invalid(error.to_string());
    let is_batch = headers.get(CONTENT_TYPE).is_some_and(|kind| kind == BATCH_TYPE);
    if !is_batch {
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        return HttpMessage::from_headers(headers, body.to_vec()).map_err(invalid);
    }
    let batch = HttpMessage::from_batch(body).map_err(invalid)?;
    let [message]: [HttpMessage; 1] = batch
        .try_into()
        .map_err(|_| ApiError::invalid("a cloud-to-device message is a batch of one message"))?;
    Ok(message)
}

/// Returns the device in an address such as `/devices/d1/messages/devicebound`.
fn addressee(address: &str) -> Option<DeviceId> {
    let segments: Vec<&str> = address.trim_start_matches('/').split('/').collect();
    match segments[..] {
        ["devices", device, "messages", bound] if bound.eq_ignore_ascii_case("devicebound") => {
            decoded(device)?.parse().ok()
        }
        _ => None,
    }
}
