//! REST API of IoT Hub for services: methods, twins, queries, the registry.
//!
//! [`router`] answers requests of any api-version. Every request is checked
//! against the shared access policies first, so that a caller without a token
//! learns nothing but that this is a hub. Bodies are limited before they are read.
//!
//! The module owns no socket and no TLS. Jobs, configurations and
//! cloud-to-device messages are answered as not offered. One path is not that of
//! IoT Hub: `/$faults`.

mod answer;
mod body;
mod bulk;
mod faults;
mod identities;
mod methods;
mod path;
mod query;
mod twins;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Extract};
use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use parking_lot::Mutex;
use protocol::error::{ErrorCode, HubError};
use protocol::rest;
use protocol::sas::SasToken;
use tracing::info;

use crate::faults::{CONTROL_PATH, Faults};
use crate::methods::Methods;
use crate::policy::{Denied, required_permission};
use crate::sessions::Sessions;
use crate::stamps::now_unix;
use crate::state::{Owner, State};
use answer::ApiError;
pub(crate) use path::decode_slashes;
pub(crate) use query::check_continuation;

/// Returns the router of the REST API.
pub(crate) fn router(
    state: Arc<State>,
    sessions: Arc<Sessions>,
    methods: Arc<Methods>,
    faults: Arc<Faults>,
) -> Router {
    let shared = Rest { state, sessions, methods, faults, order: Arc::default() };
    Router::new()
        .route(rest::TWIN, get(twins::get).patch(twins::patch).put(twins::put))
        .route(rest::METHODS, post(methods::invoke))
        .route(
            rest::MODULE_TWIN,
            get(twins::get_module).patch(twins::patch_module).put(twins::put_module),
        )
        .route(rest::MODULE_METHODS, post(methods::invoke_module))
        // The Node client adds the slash, the others do not.
        .route(rest::DEVICES, get(identities::list).post(bulk::run))
        .route("/devices/", get(identities::list).post(bulk::run))
        // POST is `/devices/query`; a device may have the id `query` all the same.
        .route(
            rest::DEVICE,
            get(identities::get).put(identities::put).delete(identities::delete).post(query::run),
        )
        .route(rest::MODULES, get(identities::list_modules))
        .route(
            rest::MODULE,
            get(identities::get_module)
                .put(identities::put_module)
                .delete(identities::delete_module),
        )
        .route(rest::DEVICE_STATISTICS, get(identities::statistics))
        .route(rest::SERVICE_STATISTICS, get(identities::connected))
        .route(CONTROL_PATH, get(faults::list).post(faults::set).delete(faults::clear))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(shared.clone(), faults::disturb))
        .layer(from_fn_with_state(shared.clone(), authorize))
        .with_state(shared)
}

/// Parts of the hub that requests use.
#[derive(Clone)]
struct Rest {
    state: Arc<State>,
    sessions: Arc<Sessions>,
    methods: Arc<Methods>,
    faults: Arc<Faults>,
    order: Arc<NoticeOrder>,
}

impl Rest {
    /// Runs work that may wait for a disk on a thread where waiting blocks no other
    /// task.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Rest) -> Result<T, HubError> + Send + 'static,
    ) -> Result<T, HubError> {
        if !self.state.is_durable() {
            return work(self);
        }
        let rest = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&rest)).await;
        done.unwrap_or_else(|_| {
            Err(HubError::new(
                ErrorCode::ServerError,
                "the request panicked; the hub's log has the reason",
            ))
        })
    }
}

/// Order of the notices to one device: that of their versions. A write of a twin
/// and its notice are one step.
#[derive(Default)]
struct NoticeOrder {
    hasher: RandomState,
    lanes: [Mutex<()>; 32],
}

impl NoticeOrder {
    fn one_at_a_time<T>(&self, owner: &Owner, work: impl FnOnce() -> T) -> T {
        let lane = self.hasher.hash_one(owner) as usize % self.lanes.len();
        let _turn = self.lanes[lane].lock();
        work()
    }
}

/// Checks that a request is allowed. Paths for devices are answered as not offered
/// first: a device has no token for the REST API, and a refusal of its token would be
/// misleading.
async fn authorize(Extract(rest): Extract<Rest>, request: Request, next: Next) -> Response {
    if let Some(api) = path::api_for_devices(request.method(), request.uri().path()) {
        let message = format!("this hub does not offer {api}; devices connect by MQTT");
        return ApiError::with_status(StatusCode::NOT_FOUND, &message).into_response();
    }
    match check(&rest.state, &request) {
        Ok(()) => answer::in_kind(next.run(request).await),
        Err(reason) => {
            info!(method = %request.method(), path = request.uri().path(), %reason, "request denied");
            let error = HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized");
            ApiError::from(error).into_response()
        }
    }
}

fn check(state: &State, request: &Request) -> Result<(), Denied> {
    let header = request.headers().get(AUTHORIZATION).ok_or(Denied::Absent)?;
    let token = header.to_str().ok().and_then(|text| text.parse::<SasToken>().ok());
    let token = token.ok_or(Denied::NotAToken)?;
    let (method, path) = (request.method(), request.uri().path());
    state.policies().check(&token, path, required_permission(method, path), now_unix())
}

async fn unknown_path(request: Request) -> ApiError {
    let path = request.uri().path();
    ApiError::with_status(StatusCode::NOT_FOUND, &format!("this hub does not offer {path}"))
}

async fn wrong_method(request: Request) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("this hub does not offer {method} {path}");
    ApiError::with_status(StatusCode::METHOD_NOT_ALLOWED, &message)
}

#[cfg(test)]
mod tests;
