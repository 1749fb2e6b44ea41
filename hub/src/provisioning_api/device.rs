//! Handlers of devices.

use axum::extract::{Query, Request};
use axum::http::header::{AUTHORIZATION, CONNECTION, LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use protocol::provisioning::{ProvisioningErrorCode, names_profile};
use serde::Deserialize;
use tokio::time::sleep;

use super::ProvisioningApi;
use super::answer::{failed, json};
use super::call::{DeviceAction, DeviceCall};
use crate::body;
use crate::faults::{ConnectionFate, Handling};
use crate::peer::Peer;
use crate::provisioning::{DeviceAnswer, DeviceRequest, ProvisioningFailure, Registrant};

/// Mark of a response that is not sent, because a fault ends the connection first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DroppedConnection;

/// Parameters in the URI of a device's request.
#[derive(Deserialize)]
struct DeviceParameters {
    #[serde(rename = "api-version")]
    api_version: String,
}

/// Answers a request of a device.
pub(super) async fn answer(
    api: &ProvisioningApi,
    DeviceCall { scope, registration, action }: DeviceCall,
    mut request: Request,
) -> Response {
    let token = request.headers().get(AUTHORIZATION);
    let token = token.map(|value| value.to_str().unwrap_or_default().to_owned());
    let peer = request.extensions_mut().remove::<Peer>().unwrap_or_default();
    let device = registration.device_id();
    let parameters = Query::<DeviceParameters>::try_from_uri(request.uri());
    let names_profile = parameters.is_ok_and(|Query(it)| names_profile(&it.api_version));
    let registrant = Registrant { scope, registration, token, peer, names_profile };
    let location = HeaderValue::try_from(request.uri().to_string());
    let request = match device_request(action, request).await {
        Ok(request) => request,
        Err(failure) => return failed(&failure),
    };
    let handling = api.faults.handling(request.step(), Some(&device));
    let registers = matches!(request, DeviceRequest::Register(_));
    let answered =
        api.provisioning.run(move |it| it.answer(&registrant, &request, &handling)).await;
    let DeviceAnswer { status, retry_after, request_id, body } = answered;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, body, &request_id);
    let headers = response.headers_mut();
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if let (true, Ok(location)) = (registers, location) {
        headers.insert(LOCATION, location);
    }
    disturb(response, handling).await
}

async fn device_request(
    action: DeviceAction,
    request: Request,
) -> Result<DeviceRequest, ProvisioningFailure> {
    let body = body::read(request.into_body()).await.map_err(|error| {
        ProvisioningFailure::new(ProvisioningErrorCode::TooLarge, error.to_string())
    })?;
    Ok(match action {
        DeviceAction::Register => DeviceRequest::Register(body.into()),
        DeviceAction::Poll(operation) => DeviceRequest::Poll(operation),
        DeviceAction::Recorded => DeviceRequest::Recorded,
    })
}

/// Applies a fault to a response. A lost response ends the connection, since the client would
/// wait for it.
async fn disturb(mut response: Response, handling: Handling) -> Response {
    if !handling.delay.is_zero() {
        sleep(handling.delay).await;
    }
    if let ConnectionFate::Silenced(time) = handling.connection {
        sleep(time).await;
    }
    if handling.copies == 0 {
        let mut dropped = StatusCode::SERVICE_UNAVAILABLE.into_response();
        dropped.extensions_mut().insert(DroppedConnection);
        return dropped;
    }
    if handling.drops_connection() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
