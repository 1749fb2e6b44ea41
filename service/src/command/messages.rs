//! The command `behaviour-service messages`.

use behaviour_service::{Client, DeviceId, MessageEvent, ServiceError, ServiceErrorKind};
use clap::Subcommand;
use program::{candidates, counted, note, say};
use protocol::error::ErrorCode;
use serde_json::{Map, Value};

use super::show::{self, OutputFormat};
use crate::command_error::{CommandError, FailureKind};
use crate::known_ids;

/// The property with the time at which the hub received the message.
const TIME: &str = "iothub-enqueuedtime";

const EXAMPLES: &str = "\
Examples:
  behaviour-service messages watch
  behaviour-service messages watch my-device --json | jq .body";

#[derive(Subcommand)]
pub(crate) enum MessagesCommand {
    /// Print the messages of a device, or of all devices, as they arrive, until Ctrl-C. Works
    /// with behaviour-hub; Azure IoT Hub offers its messages at its Event Hubs endpoint
    #[command(after_help = EXAMPLES)]
    Watch {
        /// The device's id; all devices by default
        #[arg(add = candidates(known_ids::of_devices))]
        device: Option<DeviceId>,
    },
}

pub(super) async fn run(
    MessagesCommand::Watch { device }: MessagesCommand,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let mut messages = client.messages(device.as_ref()).await.map_err(not_offered)?;
    note("waiting for messages");
    while let Some(event) = messages.next().await? {
        match event {
            MessageEvent::Message(message) if show.as_json => show::json(&Value::Object(message)),
            MessageEvent::Message(message) => say(text(&message)),
            MessageEvent::Lost(lost) => {
                note(format_args!("{} lost: not read in time", counted(lost, "message")));
            }
            _ => {}
        }
    }
    Err(CommandError::new(
        FailureKind::Service(ServiceErrorKind::Unreachable),
        format!("hub `{}`: the stream of messages has ended", client.hub()),
    ))
}

/// Converts the error of a hub that has no stream of messages.
fn not_offered(error: ServiceError) -> CommandError {
    let is_other_path = error.kind() == ServiceErrorKind::NotFound
        && error.code() != Some(ErrorCode::DeviceNotFound);
    if !is_other_path {
        return error.into();
    }
    CommandError::new(FailureKind::Service(ServiceErrorKind::NotFound), error).with_hint(
        "only behaviour-hub streams its messages; for Azure, use `az iot hub monitor-events`",
    )
}

/// Returns a message on one line: time, device, body, and the properties that the device has
/// set.
fn text(message: &Map<String, Value>) -> String {
    let string = |name: &str| message.get(name).and_then(Value::as_str);
    let no_properties = Map::new();
    let properties = message.get("properties").and_then(Value::as_object).unwrap_or(&no_properties);
    let time = properties.get(TIME).and_then(Value::as_str).unwrap_or("-");
    let body = match (string("body"), string("bodyBase64")) {
        // A control character could change the terminal's state.
        (Some(body), _) if !body.contains(char::is_control) => body.to_owned(),
        (Some(body), _) => format!("{body:?}"),
        (None, base64) => format!("base64:{}", base64.unwrap_or_default()),
    };
    let mut line = format!("{time}  {}  {body}", string("deviceId").unwrap_or("-"));
    let own = properties.iter().filter(|(name, _)| !name.starts_with("iothub-"));
    for (name, value) in own {
        line += &match value.as_str() {
            Some(value) => format!("  {}={}", json::escape(name), json::escape(value)),
            None => format!("  {}", json::escape(name)),
        };
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_one_line_without_control_characters() {
        let properties = json!({
            "iothub-enqueuedtime": "2026-01-01T00:00:00Z", "level": "high", "flag": null,
        });
        let mut message =
            json!({ "deviceId": "d1", "properties": properties, "body": "{\"t\":1}" });
        let line = |message: &Value| text(message.as_object().unwrap());
        assert_eq!(line(&message), "2026-01-01T00:00:00Z  d1  {\"t\":1}  flag  level=high");
        message["body"] = json!("a\n\u{1b}[2J");
        assert!(!line(&message).contains(char::is_control));
    }
}
