//! The stream of device-to-cloud messages of `behaviour-hub`. Azure IoT Hub has no such stream
//! in its REST API.

use std::time::Duration;

use protocol::id::DeviceId;
use protocol::rest::{MESSAGE_EVENT, MESSAGES, MESSAGES_LOST_EVENT};
use reqwest::{Method, Response};
use serde_json::{Map, Value};
use tokio::time::timeout;

use super::Client;
use super::send::HubRequest;
use crate::ServiceError;

/// Maximum silence of the hub, which sends a comment every 15 seconds.
const MAX_SILENCE: Duration = Duration::from_secs(60);

/// Maximum length of a line, in bytes. A message has up to 256 KiB, of which each byte can take
/// six as JSON.
const MAX_LINE_BYTES: usize = 4 * 1024 * 1024;

/// An event of the stream of messages.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum MessageEvent {
    /// A device-to-cloud message as JSON: `deviceId`, `properties`, and `body` as a string, or
    /// `bodyBase64` if it is not UTF-8.
    Message(Map<String, Value>),
    /// The number of messages that this client has missed because it read too slowly.
    Lost(u64),
}

/// An open stream of device-to-cloud messages. Dropping it closes the connection.
#[derive(Debug)]
pub struct Messages {
    hub: String,
    response: Response,
    decoder: Decoder,
}

impl Client {
    /// Opens a stream of the messages of one device, or of all devices, from now on. Works with
    /// `behaviour-hub` only.
    pub async fn messages(&self, device: Option<&DeviceId>) -> Result<Messages, ServiceError> {
        let subject = device.map_or("messages".to_owned(), |device| format!("device `{device}`"));
        let request = HubRequest::new(Method::GET, MESSAGES.to_owned(), subject);
        let query = device.map(|device| format!("&device={}", protocol::rest::encoded(device)));
        let query = query.unwrap_or_default();
        let response = self.open_stream(HubRequest { query: &query, ..request }).await?;
        Ok(Messages { hub: self.hub(), response, decoder: Decoder::default() })
    }
}

impl Messages {
    /// Waits for the next event; `None` if the hub has ended the stream.
    pub async fn next(&mut self) -> Result<Option<MessageEvent>, ServiceError> {
        loop {
            let malformed = |problem: &str| ServiceError::MalformedResponse {
                hub: self.hub.clone(),
                problem: problem.to_owned(),
            };
            if let Some(event) = self.decoder.next().map_err(malformed)? {
                return Ok(Some(event));
            }
            let silent =
                |_| ServiceError::Silent { hub: self.hub.clone(), seconds: MAX_SILENCE.as_secs() };
            let chunk = timeout(MAX_SILENCE, self.response.chunk()).await.map_err(silent)?;
            let closed = |_| ServiceError::Unreachable {
                hub: self.hub.clone(),
                problem: "connection closed while waiting for messages".to_owned(),
                distrust: None,
            };
            match chunk.map_err(closed)? {
                Some(chunk) => self.decoder.buffer.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}

/// The decoder of server-sent events. The hub sends the data of an event on one line, after the
/// name of the event.
#[derive(Debug, Default)]
struct Decoder {
    buffer: Vec<u8>,
    /// The name of the event whose data follows.
    event: String,
}

impl Decoder {
    /// Returns the next complete event in the buffer.
    fn next(&mut self) -> Result<Option<MessageEvent>, &'static str> {
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if let Some(event) = self.line(&String::from_utf8_lossy(&line))? {
                return Ok(Some(event));
            }
        }
        match self.buffer.len() > MAX_LINE_BYTES {
            true => Err("a line of the stream is too long"),
            false => Ok(None),
        }
    }

    fn line(&mut self, line: &str) -> Result<Option<MessageEvent>, &'static str> {
        let line = line.trim_end_matches(['\r', '\n']);
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                let event = match (self.event.as_str(), serde_json::from_str(value)) {
                    (MESSAGE_EVENT, Ok(Value::Object(message))) => {
                        Some(MessageEvent::Message(message))
                    }
                    (MESSAGES_LOST_EVENT, Ok(Value::Object(loss))) => {
                        loss.get("lost").and_then(Value::as_u64).map(MessageEvent::Lost)
                    }
                    _ => None,
                };
                return event.map(Some).ok_or("an event is neither a message nor a loss");
            }
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_decoded_wherever_the_chunks_end() {
        let stream = "event: message\ndata: {\"deviceId\":\"d1\",\"body\":\"ü\"}\n\n:\n\n\
            event: lost\ndata: {\"lost\":3}\n\n";
        let message = json!({ "deviceId": "d1", "body": "ü" }).as_object().unwrap().clone();
        for size in 1..stream.len() {
            let mut decoder = Decoder::default();
            let mut events = Vec::new();
            for chunk in stream.as_bytes().chunks(size) {
                decoder.buffer.extend_from_slice(chunk);
                while let Some(event) = decoder.next().unwrap() {
                    events.push(event);
                }
            }
            assert_eq!(
                events,
                [MessageEvent::Message(message.clone()), MessageEvent::Lost(3)],
                "{size}"
            );
        }
    }

    #[test]
    fn an_endless_line_and_an_unknown_event_are_refused() {
        let endless = vec![b'x'; MAX_LINE_BYTES + 1];
        let mut decoder = Decoder { buffer: endless, event: String::new() };
        assert_eq!(decoder.next(), Err("a line of the stream is too long"));
        let mut decoder = Decoder { buffer: b"data: {}\n".to_vec(), event: String::new() };
        assert_eq!(decoder.next(), Err("an event is neither a message nor a loss"));
    }
}
