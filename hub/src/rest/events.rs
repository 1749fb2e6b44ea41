//! The paths `/$events` and `/$messages`, streams of server-sent events. They do not exist in
//! Azure IoT Hub.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State as Extract};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, stream};
use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;
use protocol::rest::{EVENTS_DROPPED_EVENT, MESSAGE_EVENT, MESSAGES_LOST_EVENT};
use serde::Deserialize;
use serde_json::json;

use super::Rest;
use super::answer::ApiError;
use crate::events::{EventKind, EventListener, Interest, MAX_LISTENERS, Received};
use crate::state::Owner;

/// Interval of comments on an idle stream, so that a client notices a lost connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
pub(super) struct Filter {
    device: Option<DeviceId>,
    kinds: Option<String>,
}

/// Streams the events of one device, or of all devices, from now on.
pub(super) async fn events(
    Extract(rest): Extract<Rest>,
    Query(filter): Query<Filter>,
) -> Result<Response, ApiError> {
    let kinds = kinds(filter.kinds.as_deref())?;
    if kinds.contains(&EventKind::Traffic) && filter.device.is_none() {
        return Err(ApiError::invalid("`traffic` needs a device: `device=ID`"));
    }
    open(&rest, Interest::new(&kinds, filter.device), |received| match received {
        Received::Event(event) => Event::default().event(event.kind.name()).data(&event.json),
        Received::Dropped(number) => {
            let data = json!({ "dropped": number });
            Event::default().event(EVENTS_DROPPED_EVENT).data(data.to_string())
        }
    })
}

/// Streams the messages of one device, or of all devices, from now on.
pub(super) async fn messages(
    Extract(rest): Extract<Rest>,
    Query(filter): Query<Filter>,
) -> Result<Response, ApiError> {
    if let Some(device) = &filter.device {
        rest.state.get(&Owner::device(device))?;
    }
    let interest = Interest::new(&[EventKind::Telemetry], filter.device);
    open(&rest, interest, |received| match received {
        Received::Event(event) => Event::default().event(MESSAGE_EVENT).data(&event.json),
        Received::Dropped(number) => {
            let data = json!({ "lost": number });
            Event::default().event(MESSAGES_LOST_EVENT).data(data.to_string())
        }
    })
}

/// Parses a list of kinds. By default, these are all kinds but traffic.
fn kinds(list: Option<&str>) -> Result<Vec<EventKind>, ApiError> {
    let Some(list) = list else {
        let kinds = EventKind::ALL.into_iter().filter(|kind| *kind != EventKind::Traffic);
        return Ok(kinds.collect());
    };
    list.split(',')
        .map(|name| {
            EventKind::parse(name).ok_or_else(|| {
                let known = EventKind::ALL.map(EventKind::name).join(", ");
                let name = json::readable(name);
                ApiError::invalid(format!("`{name}` is not a kind of events; there are {known}"))
            })
        })
        .collect()
}

/// Opens a stream. Events after the response are not missed.
fn open(
    rest: &Rest,
    interest: Interest,
    show: fn(Received) -> Event,
) -> Result<Response, ApiError> {
    let listener = rest.state.events().listen(interest).map_err(|_| {
        let text = format!("{MAX_LISTENERS} streams are open, which is the limit");
        HubError::new(ErrorCode::ThrottlingException, text)
    })?;
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(stream_of(listener, show)).keep_alive(keep_alive).into_response())
}

fn stream_of(
    listener: EventListener,
    show: fn(Received) -> Event,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(listener, move |mut listener| async move {
        let received = listener.next().await;
        Some((Ok(show(received)), listener))
    })
}
