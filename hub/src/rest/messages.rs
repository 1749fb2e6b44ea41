//! The path `/$messages`, a stream of device-to-cloud messages as server-sent events. It does
//! not exist in Azure IoT Hub.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State as Extract};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::{Stream, stream};
use protocol::id::DeviceId;
use protocol::rest::{MESSAGE_EVENT, MESSAGES_LOST_EVENT};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Rest;
use super::answer::ApiError;
use crate::telemetry::TelemetryMessage;

/// Interval of comments on an idle stream, so that a client notices a lost connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Deserialize)]
pub(super) struct Filter {
    device: Option<DeviceId>,
}

/// Streams the messages of one device, or of all devices, from now on.
///
/// All streams share the hub's backlog of messages. A stream with a slow client skips the
/// oldest messages and contains an event with their number.
pub(super) async fn stream(
    Extract(rest): Extract<Rest>,
    Query(filter): Query<Filter>,
) -> Result<Response, ApiError> {
    // Subscribed first, so that no message after the response is missed.
    let messages = rest.telemetry.subscribe();
    if let Some(device) = &filter.device {
        rest.state.device_twin(device)?;
    }
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(events(messages, filter.device)).keep_alive(keep_alive).into_response())
}

fn events(
    messages: Receiver<TelemetryMessage>,
    device: Option<DeviceId>,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((messages, device), |(mut messages, device)| async move {
        loop {
            let event = match messages.recv().await {
                Ok(message) if device.as_ref().is_some_and(|id| *id != message.device) => continue,
                Ok(message) => {
                    Event::default().event(MESSAGE_EVENT).data(to_json(&message).to_string())
                }
                Err(RecvError::Lagged(lost)) => Event::default()
                    .event(MESSAGES_LOST_EVENT)
                    .data(json!({ "lost": lost }).to_string()),
                Err(RecvError::Closed) => return None,
            };
            return Some((Ok(event), (messages, device)));
        }
    })
}

/// Returns a message as JSON. A body that is not UTF-8 is base64. A property that occurs more
/// than once has its last value.
fn to_json(message: &TelemetryMessage) -> Value {
    let TelemetryMessage { device, properties, body } = message;
    let properties: Map<String, Value> =
        properties.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    match std::str::from_utf8(body) {
        Ok(body) => json!({ "deviceId": device, "properties": properties, "body": body }),
        Err(_) => {
            let body = STANDARD.encode(body);
            json!({ "deviceId": device, "properties": properties, "bodyBase64": body })
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::StreamExt as _;
    use tokio::sync::broadcast;

    use super::*;

    fn message(device: &str, body: &'static [u8]) -> TelemetryMessage {
        TelemetryMessage {
            device: device.parse().unwrap(),
            properties: "a=b&flag".parse().unwrap(),
            body: Bytes::from_static(body),
        }
    }

    #[test]
    fn a_message_has_its_properties_and_its_body_as_text_or_base64() {
        let text = r#"{"deviceId":"d1","properties":{"a":"b","flag":null},"body":"{\"t\": 1}"}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(to_json(&message("d1", b"{\"t\": 1}")), expected);
        assert_eq!(to_json(&message("d1", b"\xff\x00"))["bodyBase64"], "/wA=");
    }

    #[tokio::test]
    async fn a_slow_reader_receives_the_number_of_lost_messages() {
        let (sender, receiver) = broadcast::channel(2);
        for _ in 0..5 {
            sender.send(message("d1", b"x")).unwrap();
        }
        drop(sender);
        let events: Vec<_> = events(receiver, None).collect().await;
        let events: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
        assert_eq!(events.len(), 3);
        assert!(events[0].contains(r#"{\"lost\":3}"#), "{}", events[0]);
    }

    #[tokio::test]
    async fn a_stream_of_one_device_excludes_messages_of_other_devices() {
        let (sender, receiver) = broadcast::channel(4);
        for device in ["d1", "d2", "d1"] {
            sender.send(message(device, b"x")).unwrap();
        }
        drop(sender);
        assert_eq!(events(receiver, Some("d1".parse().unwrap())).count().await, 2);
    }
}
