//! The command `behaviour-service messages send`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use behaviour_service::{Acknowledgement, Client, DeviceId, HttpMessage, MessageProperties};
use clap::Args;
use program::duration::parse_or_seconds;
use program::{candidates, chain, say, text};
use serde_json::json;

use super::not_offered;
use crate::command::show::{self, OutputFormat};
use crate::command_error::{CommandError, usage};
use crate::known_ids;

pub(super) const EXAMPLES: &str = "\
Examples:
  behaviour-service messages send my-device 'hello' --property level=high
  behaviour-service messages send my-device @settings.json --content-type application/json
  behaviour-service messages send my-device - --ack full --expires-in 10m < body.txt";

#[derive(Args)]
pub(crate) struct SendArguments {
    /// The device's id
    #[arg(add = candidates(known_ids::of_devices))]
    device: DeviceId,
    /// The body: a text, @FILE, or - for standard input
    #[arg(default_value = "")]
    body: String,
    /// An application property; can be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// The id of the message; by default, the hub chooses one
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The id of the message that this one answers
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// The sender of the message
    #[arg(long, value_name = "ID")]
    user_id: Option<String>,
    /// The media type of the body, such as application/json
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// The encoding of the body, such as utf-8
    #[arg(long, value_name = "NAME")]
    content_encoding: Option<String>,
    /// Outcomes for `messages feedback`: none, positive, negative or full
    #[arg(long, default_value_t, value_name = "OUTCOMES")]
    ack: Acknowledgement,
    /// Time after which the message is no longer delivered, at most 2d; 1h by default
    #[arg(long, value_parser = parse_or_seconds, value_name = "TIME")]
    expires_in: Option<Duration>,
}

pub(super) async fn run(
    arguments: SendArguments,
    client: &Client,
    show: OutputFormat,
) -> Result<(), CommandError> {
    let device = arguments.device.clone();
    let message = message(arguments)?;
    let id = client.send_message(&device, &message).await.map_err(|error| {
        not_offered(
            error,
            "only behaviour-hub accepts messages by REST; for Azure, use `az iot device \
             c2d-message send`",
        )
    })?;
    match show.as_json {
        true => show::json(&json!({ "messageId": id })),
        false => say(id),
    }
    Ok(())
}

fn message(arguments: SendArguments) -> Result<HttpMessage, CommandError> {
    let body = text::argument(&arguments.body);
    let body = body.map_err(|error| usage(format!("the body: {}", chain(&error))))?;
    let expiry = arguments.expires_in.map(|lifetime| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.saturating_add(lifetime).as_millis().to_string()
    });
    let ack = Some(arguments.ack).filter(|ack| *ack != Acknowledgement::None);
    let system = [
        (MessageProperties::MESSAGE_ID, arguments.id),
        (MessageProperties::CORRELATION_ID, arguments.correlation_id),
        (MessageProperties::USER_ID, arguments.user_id),
        (MessageProperties::CONTENT_TYPE, arguments.content_type),
        (MessageProperties::CONTENT_ENCODING, arguments.content_encoding),
        (MessageProperties::EXPIRY, expiry),
        (MessageProperties::ACK, ack.map(|ack| ack.to_string())),
    ];
    let mut properties = MessageProperties::default();
    for (name, value) in system {
        if let Some(value) = value {
            properties = properties.with(name, value);
        }
    }
    for (name, value) in arguments.properties {
        properties = properties.with(name, value);
    }
    Ok(HttpMessage { properties, body: body.into_bytes() })
}

/// Parses an application property.
fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a property is NAME=VALUE")?;
    match name {
        "" => Err("a property needs a name".to_owned()),
        _ if name.starts_with('$') || name == MessageProperties::ACK => {
            Err(format!("`{}` is a system property, which has its own option", json::escape(name)))
        }
        _ => Ok((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_has_a_name_of_its_own_and_any_value() {
        assert_eq!(property("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(property("a="), Ok(("a".to_owned(), String::new())));
        for wrong in ["a", "=b", "$.mid=1", "iothub-ack=full"] {
            assert!(property(wrong).is_err(), "{wrong}");
        }
    }
}
