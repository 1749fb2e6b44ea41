//! The command `behaviour-service messages`: messages from and to devices.

use std::num::NonZeroU64;

use behaviour_service::{
    Client, DeviceId, Feedback, FeedbackRecord, MessageEvent, ServiceError, ServiceErrorKind,
};
use clap::Subcommand;
use program::{candidates, counted, note, say, while_read};
use protocol::error::ErrorCode;
use serde_json::{Map, Value, json};

use super::show::{self, OutputFormat};
use crate::command_error::{CommandError, FailureKind};
use crate::known_ids;

mod send;

/// The property with the time at which the hub received the message.
const TIME: &str = "iothub-enqueuedtime";

const WATCH_EXAMPLES: &str = "\
Examples:
  behaviour-service messages watch
  behaviour-service messages watch my-device --json | jq .body
  timeout 60 behaviour-service messages watch my-device --json --count 1";

const PURGE_EXAMPLES: &str = "\
Examples:
  behaviour-service messages purge my-device";

const FEEDBACK_EXAMPLES: &str = "\
Examples:
  behaviour-service messages feedback
  behaviour-service messages feedback --json | jq .statusCode";

#[derive(Subcommand)]
pub(crate) enum MessagesCommand {
    /// Print the messages of a device, or of all devices, as they arrive, until Ctrl-C. Works
    /// with behaviour-hub; Azure IoT Hub offers its messages at its Event Hubs endpoint
    #[command(after_help = WATCH_EXAMPLES)]
    Watch {
        /// The device's id; all devices by default
        #[arg(add = candidates(known_ids::of_devices))]
        device: Option<DeviceId>,
        /// End after this number of messages
        #[arg(long, value_name = "N")]
        count: Option<NonZeroU64>,
    },
    /// Send a cloud-to-device message, and print its id. Works with behaviour-hub; Azure IoT Hub
    /// accepts such messages by AMQP only
    #[command(after_help = send::EXAMPLES)]
    Send(send::SendArguments),
    /// Remove all cloud-to-device messages from the queue of a device, and print their number
    #[command(after_help = PURGE_EXAMPLES)]
    Purge {
        /// The device's id
        #[arg(add = candidates(known_ids::of_devices))]
        device: DeviceId,
    },
    /// Print the outcomes of cloud-to-device messages whose senders have asked for them, and remove
    /// them from the hub
    #[command(after_help = FEEDBACK_EXAMPLES)]
    Feedback,
}

pub(super) async fn run(
    command: MessagesCommand,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    match command {
        MessagesCommand::Watch { device, count } => {
            while_read(watch(device.as_ref(), count, client, show)).await
        }
        MessagesCommand::Send(arguments) => send::run(arguments, client, show).await,
        MessagesCommand::Purge { device } => {
            let purged = client.purge_messages(&device).await?;
            match show.as_json {
                true => show::json(&json!({ "purged": purged })),
                false => say(counted(purged as u64, "message")),
            }
            Ok(())
        }
        MessagesCommand::Feedback => feedback(client, show).await,
    }
}

/// Prints all feedback.
async fn feedback(client: &Client, show: OutputFormat) -> Result<(), CommandError> {
    while let Some(Feedback { lock, records }) = client.receive_feedback().await? {
        for record in &records {
            match show.as_json {
                true => show::json(&json!(record)),
                false => say(outcome(record)),
            }
        }
        // Records that are printed and not completed are printed again next time.
        client.complete_feedback(&lock).await?;
    }
    Ok(())
}

/// Returns the outcome of a message on one line.
fn outcome(record: &FeedbackRecord) -> String {
    let FeedbackRecord {
        enqueued_time_utc: time, device_id, original_message_id, status_code, ..
    } = record;
    let id = json::escape(original_message_id);
    format!("{time}  {device_id}  {id}  {status_code:?}")
}

async fn watch(
    device: Option<&DeviceId>,
    count: Option<NonZeroU64>,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let mut messages = client.messages(device).await.map_err(|error| {
        not_offered(
            error,
            "only behaviour-hub streams its messages; for Azure, use `az iot hub monitor-events`",
        )
    })?;
    note("waiting for messages");
    let mut left = count.map(NonZeroU64::get);
    while let Some(event) = messages.next().await? {
        match event {
            MessageEvent::Message(message) => {
                match show.as_json {
                    true => show::json(&Value::Object(message)),
                    false => say(text(&message)),
                }
                left = left.map(|left| left - 1);
                if left == Some(0) {
                    return Ok(());
                }
            }
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

/// Converts the error of a hub that does not have a path of behaviour-hub.
fn not_offered(error: ServiceError, hint: &'static str) -> CommandError {
    let is_other_path = error.kind() == ServiceErrorKind::NotFound
        && error.code() != Some(ErrorCode::DeviceNotFound);
    if !is_other_path {
        return error.into();
    }
    CommandError::new(FailureKind::Service(ServiceErrorKind::NotFound), error).with_hint(hint)
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
