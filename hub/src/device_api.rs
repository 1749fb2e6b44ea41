//! HTTPS API for devices: telemetry, and receipt of cloud-to-device messages.
//!
//! [`router`] serves requests with any `api-version`. A device proves its identity like an MQTT
//! client: by a SAS token in `Authorization`, or by the certificate of the connection. The API
//! has neither twins nor methods, as in IoT Hub, and no upload of files.

mod events;
mod messages;
mod refusal;

use axum::Router;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::response::Response;
use axum::routing::{delete, get, post};
use protocol::error::{ErrorCode, HubError};
use protocol::rest;
use tracing::info;

use crate::peer::Peer;
use crate::session::SessionContext;
use crate::stamps::now_unix;
use crate::state::{DeviceCredentials, DeviceGrant, Owner};
use refusal::DeviceRefused;

/// Result of a request.
type Answered = Result<Response, DeviceRefused>;

/// Returns the router of the API.
pub(crate) fn router(context: SessionContext) -> Router {
    let mut router = Router::new()
        .route(rest::DEVICE_EVENTS, post(events::of_device))
        .route(rest::MODULE_EVENTS, post(events::of_module));
    // The official clients spell this segment in two ways.
    for spelling in ["devicebound", "deviceBound"] {
        let path = |path: &str| path.replace("devicebound", spelling);
        router = router
            .route(&path(rest::DEVICE_MESSAGES), get(messages::receive))
            .route(&path(rest::DEVICE_MESSAGE), delete(messages::settle))
            .route(&path(rest::DEVICE_MESSAGE_ABANDON), post(messages::abandon));
    }
    router.with_state(context)
}

/// Returns `true` if a path belongs to this API: `/devices/ID/messages/…`, or the same of a module.
pub(crate) fn serves(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').collect();
    matches!(
        segments[..],
        ["", "devices", _, "messages", _, ..] | ["", "devices", _, "modules", _, "messages", _, ..]
    )
}

/// Authenticates the device or module of a request. As in Azure, the answer has no reason.
fn authenticate(
    context: &SessionContext,
    owner: &Owner,
    headers: &HeaderMap,
    peer: Option<&Peer>,
) -> Result<DeviceGrant, DeviceRefused> {
    let token = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let credentials = DeviceCredentials {
        password: token.map(str::to_owned),
        certificates: peer.map(|peer| peer.certificates.clone()).unwrap_or_default(),
        authorities: context.authorities.clone(),
    };
    context.state.authenticate_request(owner, &credentials, now_unix()).map_err(|refusal| {
        info!(device = %owner, reason = %refusal, "request of a device denied");
        HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized").into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_messages_are_served() {
        for path in [
            "/devices/d1/messages/events",
            "/devices/d1/modules/m1/messages/events",
            "/devices/d1/messages/deviceBound",
            "/devices/d1/messages/devicebound/lock/abandon",
            "/devices/messages/messages/events",
        ] {
            assert!(serves(path), "{path}");
        }
        for path in [
            "/devices/d1",
            "/devices/d1/messages",
            "/devices/d1/modules/messages/x",
            "/devices/d1/keys/messages/x",
            "/twins/d1/messages/events",
            "/api/devices/d1/messages/events",
        ] {
            assert!(!serves(path), "{path}");
        }
    }
}
