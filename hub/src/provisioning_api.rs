//! The Device Provisioning Service over HTTPS: its device API and its service API.
//!
//! Both share the hub's ports. [`serve`] is a layer over the hub's own REST API, which gets all
//! other paths. Unlike the hub, the service ignores the case of its paths and ids.

mod answer;
mod call;
mod device;
mod service;

use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use protocol::provisioning::ProvisioningErrorCode;

use crate::faults::Faults;
use crate::provisioning::Provisioning;
use crate::state::State;
use answer::failed;
use call::{Call, CallError};
pub(crate) use device::DroppedConnection;

/// Parts of the hub that the handlers use.
#[derive(Clone)]
pub(crate) struct ProvisioningApi {
    pub(crate) provisioning: Arc<Provisioning>,
    pub(crate) state: Arc<State>,
    pub(crate) faults: Arc<Faults>,
}

/// Parses the path of a request. For fuzzing only.
pub(crate) fn parse_path(path: &str) {
    for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE] {
        drop(Call::parse(&method, path));
    }
}

/// Serves a request if it is one for the Device Provisioning Service.
pub(crate) async fn serve(
    Extract(api): Extract<ProvisioningApi>,
    request: Request,
    next: Next,
) -> Response {
    match Call::parse(request.method(), request.uri().path()) {
        Ok(Call::Device(call)) => device::answer(&api, call, request).await,
        Ok(Call::Service(call)) => match service::answer(&api, call, request).await {
            Ok(response) => response,
            Err(failure) => failed(&failure),
        },
        Err(CallError::OtherPath) => next.run(request).await,
        Err(CallError::Method) => failed(&ProvisioningErrorCode::MethodNotAllowed.into()),
        Err(CallError::Id(failure)) => failed(&failure).into_response(),
    }
}
