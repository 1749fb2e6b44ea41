//! Receipt of cloud-to-device messages.

use std::time::Duration;

use axum::extract::{Path, Request, State as Extract};
use axum::http::header::{CONTENT_TYPE, ETAG};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::IntoResponse as _;
use protocol::cloud_to_device::LOCK_TIME;
use protocol::error::{ErrorCode, HubError};
use protocol::http_message::{
    DELIVERY_COUNT, ENQUEUED_TIME, LOCK_SECONDS, LOCK_TIMEOUT, SEQUENCE_NUMBER, header_of,
};
use protocol::id::DeviceId;

use super::refusal::{DeviceRefused, invalid_id};
use super::{Answered, authenticate};
use crate::cloud_to_device::Settlement;
use crate::peer::Peer;
use crate::session::{SessionContext, on_disk};
use crate::stamps::{now_ms, timestamp};
use crate::state::{Owner, QueuedMessage};

/// Returns the next message, or 204.
pub(super) async fn receive(
    Extract(context): Extract<SessionContext>,
    Path(device): Path<String>,
    request: Request,
) -> Answered {
    let device = sender(&context, &device, &request)?;
    let lock_time = request.headers().get(LOCK_TIMEOUT).map(lock_time).transpose()?;
    let lock_time = lock_time.unwrap_or(LOCK_TIME);
    let Some((lock, message)) = context.cloud_to_device.receive(&device, lock_time, now_ms())?
    else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let mut response = message.body.clone().into_response();
    response.headers_mut().remove(CONTENT_TYPE);
    add_properties(response.headers_mut(), &lock, &message);
    Ok(response)
}

/// Completes a message, or rejects it with the query `reject`.
pub(super) async fn settle(
    Extract(context): Extract<SessionContext>,
    Path((device, lock)): Path<(String, String)>,
    request: Request,
) -> Answered {
    let query = request.uri().query().unwrap_or_default();
    let rejects = query.split('&').any(|field| field == "reject" || field.starts_with("reject="));
    let settlement = if rejects { Settlement::Reject } else { Settlement::Complete };
    let device = sender(&context, &device, &request)?;
    end(&context, device, lock, settlement).await
}

/// Returns a message to the queue.
pub(super) async fn abandon(
    Extract(context): Extract<SessionContext>,
    Path((device, lock)): Path<(String, String)>,
    request: Request,
) -> Answered {
    let device = sender(&context, &device, &request)?;
    end(&context, device, lock, Settlement::Abandon).await
}

/// Parses the time of a lock.
fn lock_time(header: &HeaderValue) -> Result<Duration, HubError> {
    let text = String::from_utf8_lossy(header.as_bytes());
    let seconds = text.parse().ok().filter(|seconds| LOCK_SECONDS.contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| {
        let (min, max) = (LOCK_SECONDS.start(), LOCK_SECONDS.end());
        let text = json::excerpt(&text, 40);
        let reason =
            format!("IotHub-MessageLockTimeout: `{text}` is not a time of {min} to {max} s");
        HubError::new(ErrorCode::ArgumentInvalid, reason)
    })
}

/// Ends the lock of a message.
async fn end(
    context: &SessionContext,
    device: DeviceId,
    lock: String,
    settlement: Settlement,
) -> Answered {
    let messages = std::sync::Arc::clone(&context.cloud_to_device);
    let settled = on_disk(&context.state, move |_| messages.settle(&device, &lock, settlement));
    settled.await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Authenticates the device of a request.
fn sender(
    context: &SessionContext,
    id: &str,
    request: &Request,
) -> Result<DeviceId, DeviceRefused> {
    let owner = Owner { device: id.parse().map_err(invalid_id)?, module: None };
    authenticate(context, &owner, request.headers(), request.extensions().get::<Peer>())?;
    Ok(owner.device)
}

/// Adds the properties of a message as headers. One that HTTP cannot have is left out.
fn add_properties(headers: &mut HeaderMap, lock: &str, message: &QueuedMessage) {
    let mut add = |name: String, value: &str| {
        let name = HeaderName::try_from(name.to_ascii_lowercase());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            headers.append(name, value);
        }
    };
    add(ETAG.to_string(), &format!("\"{lock}\""));
    add(SEQUENCE_NUMBER.to_owned(), &message.sequence.to_string());
    add(DELIVERY_COUNT.to_owned(), &message.deliveries.to_string());
    add(ENQUEUED_TIME.to_owned(), &timestamp(message.queued_ms));
    for (name, value) in message.properties.iter() {
        add(header_of(name), value.unwrap_or_default());
    }
}
