//! `/$faults`: what this hub is to do wrong. Azure IoT Hub has no such path.

use std::time::Duration;

use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;
use serde_json::Value;

use super::Rest;
use super::answer::{Answer, Failure, json};
use super::body::JsonObject;
use crate::faults::{CONTROL_PATH, Effect, Step, Wanted, Words};
use crate::sessions::Ending;

/// How long after its answer a restart begins, so that the answer leaves.
const BEFORE_RESTART: Duration = Duration::from_millis(100);

/// What is still to happen, and how often faults have happened.
pub(super) async fn list(Shared(rest): Shared<Rest>) -> Answer {
    let faults = &rest.sessions.faults;
    let waiting: Vec<Words> = faults.waiting().iter().map(Words::from).collect();
    json(&serde_json::json!({"waiting": waiting, "happened": faults.happened()}))
}

/// The hub behaves from now on.
pub(super) async fn clear(Shared(rest): Shared<Rest>) -> StatusCode {
    rest.sessions.faults.clear();
    StatusCode::NO_CONTENT
}

/// One more fault, or something that is to happen at once.
pub(super) async fn set(Shared(rest): Shared<Rest>, JsonObject(body): JsonObject) -> Answer {
    let wanted = Wanted::parse(Value::Object(body)).map_err(Failure::invalid)?;
    let (sessions, device) = (&rest.sessions, |done: bool, device: DeviceId| match done {
        true => Ok(()),
        false => {
            Err(HubError::new(ErrorCode::DeviceNotOnline, format!("{device} is not connected")))
        }
    });
    match wanted {
        Wanted::Fault(fault) => {
            sessions.faults.set(fault).map_err(|error| Failure::invalid(error.to_string()))?;
        }
        Wanted::Drop(id) => device(sessions.end(&id, Ending::Dropped), id)?,
        Wanted::HalfOpen(id, time) => device(sessions.silence(&id, time), id)?,
        Wanted::ExpireToken(id) => device(sessions.expire_token(&id), id)?,
        Wanted::Restart { down, forget } => {
            tokio::spawn(async move {
                tokio::time::sleep(BEFORE_RESTART).await;
                let restart =
                    move |rest: &Rest| rest.sessions.restart(down, || rest.state.forget(forget));
                let forgotten = rest.run(restart).await;
                if let Err(error) = forgotten {
                    tracing::warn!(error = error.message, "the restart did not forget all");
                }
            });
        }
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Lets a request go wrong where a fault is set for it.
pub(super) async fn misbehave(
    Shared(rest): Shared<Rest>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if path == CONTROL_PATH {
        return next.run(request).await;
    }
    let device = path.split('/').nth(2).and_then(|id| id.parse::<DeviceId>().ok());
    match rest.sessions.faults.at(Step::Request, device.as_ref()) {
        Some(Effect::Throttle) => {
            let error = HubError::new(ErrorCode::ThrottlingException, "a fault throttles this hub");
            Failure::from(error).into_response()
        }
        Some(Effect::Delay(time)) => {
            tokio::time::sleep(time).await;
            next.run(request).await
        }
        _ => next.run(request).await,
    }
}
