//! REST API for services: methods, twins, queries, jobs, configurations and the device registry.
//!
//! [`router`] serves requests with any `api-version`. Every request is authorised before it is
//! processed, so callers without a token learn nothing about the hub. The size of bodies is
//! limited before they are read.
//!
//! The paths `/$events`, `/$faults` and `/$messages` do not exist in Azure IoT Hub, nor do those
//! that send cloud-to-device messages. Sockets and TLS are handled by `listener`.

mod answer;
mod body;
mod bulk;
mod configurations;
mod events;
mod faults;
mod identities;
mod jobs;
mod messages;
mod methods;
mod path;
mod query;
mod shortcut;
mod twins;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Extract};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use futures_util::FutureExt as _;
use protocol::error::{ErrorCode, HubError};
use protocol::rest;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::cloud_to_device::CloudToDevice;
use crate::configurations::Configurations;
use crate::entra::CLIENT_ID;
use crate::faults::{CONTROL_PATH, FAULT_PATH, Faults};
use crate::jobs::Jobs;
use crate::methods::Methods;
use crate::policy::{Denied, required_permission};
use crate::sessions::Sessions;
use crate::stamps::now_unix;
use crate::state::State;
use crate::twin_writes::TwinWriter;
use answer::ApiError;
pub(crate) use path::decode_slashes;
pub(crate) use query::check_continuation;
pub(crate) use shortcut::{called_device, invoke_directly};

/// Performs a bulk request over a registry in memory, and returns the answer. Returns `None`
/// if the registry would wait for a disk.
pub(crate) fn bulk(state: Arc<State>, items: Vec<Value>) -> Option<Value> {
    let rest = Rest::without_devices(state, &CancellationToken::new());
    bulk::all(&rest, items).now_or_never()
}

/// Returns the router of the REST API.
pub(crate) fn router(shared: Rest) -> Router {
    Router::new()
        .route(rest::TWIN, get(twins::get).patch(twins::patch).put(twins::put))
        .route(rest::METHODS, post(methods::invoke))
        .route(
            rest::MODULE_TWIN,
            get(twins::get_module).patch(twins::patch_module).put(twins::put_module),
        )
        .route(rest::MODULE_METHODS, post(methods::invoke_module))
        // Only the Node client appends a slash.
        .route(rest::DEVICES, get(identities::list).post(bulk::run))
        .route("/devices/", get(identities::list).post(bulk::run))
        // POST is a query at `/devices/query`. A device can have the id `query` as well.
        .route(
            rest::DEVICE,
            get(identities::get).put(identities::put).delete(identities::delete).post(query::run),
        )
        .route(rest::DEVICE_CONFIGURATION, post(configurations::apply))
        .route(rest::CONFIGURATIONS, get(configurations::list))
        // Only the .NET client appends a slash.
        .route("/configurations/", get(configurations::list))
        .route(rest::CONFIGURATION_QUERIES, post(configurations::test_queries))
        .route(
            rest::CONFIGURATION,
            get(configurations::get).put(configurations::put).delete(configurations::delete),
        )
        .route(rest::JOBS, get(jobs::list))
        .route(rest::JOB, get(jobs::get).put(jobs::create))
        .route(rest::JOB_CANCEL, post(jobs::cancel))
        .route(rest::MODULES, get(identities::list_modules))
        .route(
            rest::MODULE,
            get(identities::get_module)
                .put(identities::put_module)
                .delete(identities::delete_module),
        )
        .route(rest::COMMANDS, delete(messages::purge))
        .route(rest::DEVICE_BOUND, post(messages::send_to))
        .route("/messages/deviceBound", post(messages::send_to))
        .route(rest::DEVICE_MESSAGES, post(messages::send))
        .route("/devices/{device}/messages/deviceBound", post(messages::send))
        .route(rest::FEEDBACK, get(messages::feedback))
        .route("/messages/serviceBound/feedback", get(messages::feedback))
        .route(rest::FEEDBACK_LOCK, delete(messages::complete_feedback))
        .route("/messages/serviceBound/feedback/{lock}", delete(messages::complete_feedback))
        .route(rest::FEEDBACK_ABANDON, post(messages::abandon_feedback))
        .route("/messages/serviceBound/feedback/{lock}/abandon", post(messages::abandon_feedback))
        .route(rest::DEVICE_STATISTICS, get(identities::statistics))
        .route(rest::SERVICE_STATISTICS, get(identities::connected))
        .route(rest::EVENTS, get(events::events))
        .route(rest::MESSAGES, get(events::messages))
        .route(CONTROL_PATH, get(faults::list).post(faults::set).delete(faults::clear))
        .route(FAULT_PATH, delete(faults::remove))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(shared.clone(), faults::disturb))
        .layer(from_fn_with_state(shared.clone(), authorize))
        .with_state(shared)
}

/// Parts of the hub that request handlers use.
#[derive(Clone)]
pub(crate) struct Rest {
    pub(crate) state: Arc<State>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) methods: Arc<Methods>,
    pub(crate) twins: Arc<TwinWriter>,
    pub(crate) configurations: Arc<Configurations>,
    pub(crate) jobs: Arc<Jobs>,
    pub(crate) cloud_to_device: Arc<CloudToDevice>,
    pub(crate) faults: Arc<Faults>,
}

impl Rest {
    /// Assembles the parts. Jobs run as `tasks` until `stop`.
    pub(crate) fn new(
        hub: (Arc<State>, Arc<Sessions>, Arc<Methods>, Arc<Faults>),
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Rest {
        let (state, sessions, methods, faults) = hub;
        let twins = Arc::new(TwinWriter::new(Arc::clone(&state), Arc::clone(&sessions)));
        let configurations = Configurations::new(Arc::clone(&state), Arc::clone(&twins));
        let configurations = Arc::new(configurations);
        let (for_jobs, stop) = ((Arc::clone(&state), Arc::clone(&methods)), stop.clone());
        let jobs = Jobs::new(for_jobs, Arc::clone(&twins), tasks.clone(), stop);
        let cloud_to_device = Arc::new(CloudToDevice::new(Arc::clone(&state)));
        Rest { state, sessions, methods, twins, configurations, jobs, cloud_to_device, faults }
    }

    /// Returns the parts of a hub to which no device can connect.
    pub(crate) fn without_devices(state: Arc<State>, stop: &CancellationToken) -> Rest {
        let faults = Arc::<Faults>::default();
        let sessions = Arc::new(Sessions::new(Arc::clone(&faults), Arc::clone(state.events())));
        let methods = Arc::new(Methods::new(Arc::clone(&sessions), Arc::clone(&faults)));
        Rest::new((state, sessions, methods, faults), &TaskTracker::new(), stop)
    }

    /// Runs `work` on a blocking thread if it can wait for the disk.
    async fn run<T: Send + 'static, E: From<HubError> + Send + 'static>(
        &self,
        work: impl FnOnce(&Rest) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        if !self.state.is_durable() {
            return work(self);
        }
        let rest = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&rest)).await;
        done.unwrap_or_else(|_| {
            let text = "the request panicked; the hub's log has the reason";
            Err(HubError::new(ErrorCode::ServerError, text).into())
        })
    }
}

async fn authorize(Extract(rest): Extract<Rest>, request: Request, next: Next) -> Response {
    match permitted(&rest.state, &request) {
        Ok(()) => answer::with_parsable_error(next.run(request).await),
        Err(error) => error.into_response(),
    }
}

/// Authorises a request. Refuses the HTTP paths for devices as unsupported before checking
/// the token: devices have no token for the REST API, so `Unauthorized` would be misleading.
fn permitted(state: &State, request: &Request) -> Result<(), ApiError> {
    if let Some(api) = path::api_for_devices(request.method(), request.uri().path()) {
        let message = format!("this hub does not support {api}");
        return Err(ApiError::with_status(StatusCode::NOT_FOUND, &message));
    }
    check(state, request).map_err(|reason| {
        info!(method = %request.method(), path = request.uri().path(), %reason, "request denied");
        denied(&reason, request).into()
    })
}

fn check(state: &State, request: &Request) -> Result<(), Denied> {
    let (method, path) = (request.method(), request.uri().path());
    let needed = required_permission(method, path);
    state.policies().authorize(request.headers(), path, needed, now_unix())
}

/// Returns the error of a denied request. As in Azure, only the owner of a valid access token
/// learns why.
fn denied(reason: &Denied, request: &Request) -> HubError {
    match reason {
        Denied::NoRole(_) => {
            let (method, path) = (request.method(), request.uri().path());
            let message = format!(
                "Principal {CLIENT_ID} is not authorized for {method} on {path} due to no \
                 assigned permissions"
            );
            HubError::new(ErrorCode::IotHubUnauthorized, message)
        }
        _ => HubError::new(ErrorCode::IotHubUnauthorizedAccess, "Unauthorized"),
    }
}

async fn unknown_path(request: Request) -> ApiError {
    let path = request.uri().path();
    ApiError::with_status(StatusCode::NOT_FOUND, &format!("this hub does not support {path}"))
}

async fn wrong_method(request: Request) -> ApiError {
    let (method, path) = (request.method(), request.uri().path());
    let message = format!("this hub does not support {method} {path}");
    ApiError::with_status(StatusCode::METHOD_NOT_ALLOWED, &message)
}

#[cfg(test)]
mod tests;
