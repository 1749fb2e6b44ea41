//! Telemetry.

use axum::extract::{Path, Request, State as Extract};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use protocol::error::{ErrorCode, HubError};
use protocol::http_message::{BATCH_TYPE, HttpMessage, HttpMessageError};
use protocol::topic::MAX_MESSAGE_BYTES;

use super::refusal::{DeviceRefused, invalid_id};
use super::{Answered, authenticate};
use crate::body;
use crate::peer::Peer;
use crate::session::SessionContext;
use crate::state::Owner;
use crate::telemetry::{Sender, TelemetryMessage};

/// Accepts telemetry of a device.
pub(super) async fn of_device(
    Extract(context): Extract<SessionContext>,
    Path(device): Path<String>,
    request: Request,
) -> Answered {
    let owner = Owner { device: device.parse().map_err(invalid_id)?, module: None };
    accept(&context, owner, request).await
}

/// Accepts telemetry of a module.
pub(super) async fn of_module(
    Extract(context): Extract<SessionContext>,
    Path((device, module)): Path<(String, String)>,
    request: Request,
) -> Answered {
    let module = Some(module.parse().map_err(invalid_id)?);
    let owner = Owner { device: device.parse().map_err(invalid_id)?, module };
    accept(&context, owner, request).await
}

/// Publishes the message or the batch of a request.
async fn accept(context: &SessionContext, owner: Owner, request: Request) -> Answered {
    let (parts, body) = request.into_parts();
    let grant = authenticate(context, &owner, &parts.headers, parts.extensions.get::<Peer>())?;
    let body = body::read(body).await.map_err(DeviceRefused::of_body)?;
    let invalid =
        |error: HttpMessageError| HubError::new(ErrorCode::ArgumentInvalid, error.to_string());
    let is_batch = parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == BATCH_TYPE);
    let messages = if is_batch {
        HttpMessage::from_batch(&body).map_err(invalid)?
    } else {
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
        vec![HttpMessage::from_headers(headers, body.to_vec()).map_err(invalid)?]
    };
    let size: usize = messages.iter().map(HttpMessage::size).sum();
    if size > MAX_MESSAGE_BYTES {
        let text = format!("{size} bytes; at most {MAX_MESSAGE_BYTES} are allowed");
        return Err(HubError::new(ErrorCode::MessageTooLarge, text).into());
    }
    let sender = Sender { owner, generation: grant.generation, model_id: grant.model_id };
    for HttpMessage { properties, body } in messages {
        context.publish(TelemetryMessage::new(&sender, properties, body.into()));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
