//! Packets of MQTT 5 as members of events. The messages of the profile `mqttV5` are decoded.

use bytes::BytesMut;
use protocol::mqtt5::{
    Abandon, Birth, BirthAck, CorrelationId, DesiredUpdate, Exec, Message as _, MessageType, Probe,
    ProbeAck, ProtobufError, ReasonCode, ReportedPatch, ReportedPatchResponse, ResultMessage,
    TYPE_PROPERTY, TwinGet, TwinGetResponse, TwinPush, TwinSection,
};
use serde_json::{Value, json};

use super::{data, published};
use crate::events::EventData;
use crate::mqtt::packet_name;
use crate::mqtt5::{Mqtt5Connect, Mqtt5Inbound, Mqtt5Publish, decode};

pub(super) fn connecting(connect: &Mqtt5Connect) -> EventData {
    data(json!({
        "packet": "CONNECT",
        "clientId": connect.client_id,
        "userName": connect.user_name,
        "cleanStart": connect.clean_start,
        "sessionExpirySeconds": connect.session_expiry,
        "keepAliveSeconds": connect.keep_alive_seconds,
    }))
}

pub(super) fn received(packet: &Mqtt5Inbound) -> EventData {
    match packet {
        // A second CONNECT, which ends the session.
        Mqtt5Inbound::Connect(_) => data(json!({ "packet": "CONNECT" })),
        Mqtt5Inbound::Publish(message) => message_of(message),
        Mqtt5Inbound::PubAck(_) => data(json!({ "packet": "PUBACK" })),
        Mqtt5Inbound::Subscribe(subscribe) => {
            let filters = subscribe.filters.iter().map(|(filter, _)| filter.as_str());
            data(json!({ "packet": "SUBSCRIBE", "filters": filters.collect::<Vec<_>>() }))
        }
        Mqtt5Inbound::Unsubscribe { filters, .. } => {
            data(json!({ "packet": "UNSUBSCRIBE", "filters": filters }))
        }
        Mqtt5Inbound::PingReq => data(json!({ "packet": "PINGREQ" })),
        Mqtt5Inbound::Disconnect { reason, .. } => {
            data(json!({ "packet": "DISCONNECT", "reason": reason.to_string() }))
        }
    }
}

/// Returns the members of an encoded packet of the hub.
pub(super) fn sent(packet: &[u8]) -> EventData {
    // A PUBLISH has the same form in both directions.
    if let Ok(Some(Mqtt5Inbound::Publish(message))) = decode(&mut BytesMut::from(packet)) {
        return message_of(&message);
    }
    let name = packet_name(packet);
    // The reason code of these packets follows the length, or the flags or the packet id.
    let at = match name {
        "DISCONNECT" => 2,
        "CONNACK" => 3,
        "PUBACK" => 4,
        _ => return data(json!({ "packet": name })),
    };
    let reason = ReasonCode(packet.get(at).copied().unwrap_or(0));
    data(json!({ "packet": name, "reason": reason.to_string() }))
}

fn message_of(message: &Mqtt5Publish) -> EventData {
    let qos = u8::from(message.id.is_some());
    let mut members = published(&message.topic, qos, &message.payload);
    for (name, is_set) in [("duplicate", message.duplicate), ("retain", message.retain)] {
        if is_set {
            members.insert(name.to_owned(), json!(true));
        }
    }
    if let Some(seconds) = message.expiry {
        members.insert("expirySeconds".to_owned(), json!(seconds));
    }
    let correlation = message.correlation.as_deref();
    if let Some(id) = correlation.and_then(|id| CorrelationId::try_from(id).ok()) {
        members.insert("correlationId".to_owned(), json!(id.to_string()));
    }
    let Some(kind) = message.user_property(TYPE_PROPERTY) else { return members };
    members.insert("type".to_owned(), json!(kind));
    let decoded = kind.parse().ok().and_then(|kind| decoded(kind, &message.payload).ok().flatten());
    if let Some(decoded) = decoded {
        members.remove("bodyBase64");
        members.remove("truncated");
        members.insert("body".to_owned(), json!(decoded.to_string()));
    }
    members
}

/// Returns the content of a protobuf message; `None` for a type without one.
fn decoded(kind: MessageType, payload: &[u8]) -> Result<Option<Value>, ProtobufError> {
    Ok(Some(match kind {
        MessageType::Birth => {
            let birth = Birth::decode(payload)?;
            json!({
                "sessionPresent": birth.session_present,
                "reportedVersion": birth.reported_version,
                "desiredVersion": birth.desired_version,
                "pushDesired": birth.push_desired,
                "pushReported": birth.push_reported,
            })
        }
        MessageType::BirthAck => {
            let BirthAck { desired_version, reported_version } = BirthAck::decode(payload)?;
            json!({ "desiredVersion": desired_version, "reportedVersion": reported_version })
        }
        MessageType::TwinGet => {
            let get = TwinGet::decode(payload)?;
            json!({
                "sections": format!("{:?}", get.sections),
                "ifNotMatchDesired": get.if_not_match_desired,
                "ifNotMatchReported": get.if_not_match_reported,
            })
        }
        MessageType::TwinGetResponse => {
            let response = TwinGetResponse::decode(payload)?;
            json!({
                "desiredVersion": response.desired_version,
                "reportedVersion": response.reported_version,
                "desired": response.desired_payload.as_deref().map(content),
                "reported": response.reported_payload.as_deref().map(content),
            })
        }
        MessageType::ReportedPatch => {
            let ReportedPatch { if_match, payload } = ReportedPatch::decode(payload)?;
            json!({ "ifMatch": if_match, "payload": content(&payload) })
        }
        MessageType::ReportedPatchResponse => {
            let ReportedPatchResponse { outcome, version } =
                ReportedPatchResponse::decode(payload)?;
            json!({ "result": format!("{outcome:?}"), "version": version })
        }
        MessageType::DesiredPatch => {
            let DesiredUpdate { version, payload } = DesiredUpdate::decode(payload)?;
            json!({ "version": version, "payload": content(&payload) })
        }
        MessageType::TwinPush => {
            let TwinPush { desired, reported } = TwinPush::decode(payload)?;
            let section = |section: TwinSection| json!({ "version": section.version, "payload": content(&section.payload) });
            json!({ "desired": desired.map(section), "reported": reported.map(section) })
        }
        MessageType::Probe => {
            let Probe { method_name, response_timeout_seconds } = Probe::decode(payload)?;
            json!({ "methodName": method_name, "responseTimeoutSeconds": response_timeout_seconds })
        }
        MessageType::ProbeAck => match ProbeAck::decode(payload)? {
            ProbeAck::Ready(id) => json!({ "ready": id.to_string() }),
            ProbeAck::Rejected(reason) => json!({ "rejected": format!("{reason:?}") }),
        },
        MessageType::Exec => {
            let Exec { ready_id, params, .. } = Exec::decode(payload)?;
            json!({ "readyId": ready_id.to_string(), "params": content(&params) })
        }
        MessageType::Result => {
            let ResultMessage { status, body } = ResultMessage::decode(payload)?;
            json!({ "status": status, "body": content(&body) })
        }
        MessageType::Abandon => {
            let Abandon { ready_id, reason } = Abandon::decode(payload)?;
            json!({ "readyId": ready_id.to_string(), "reason": format!("{reason:?}") })
        }
        MessageType::Telemetry => return Ok(None),
    }))
}

/// Returns bytes as JSON if they are JSON, and otherwise as text.
fn content(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt5::Mqtt5Outbound;

    #[test]
    fn a_message_of_the_profile_is_decoded() {
        let (device, id) = ("d1".parse().unwrap(), CorrelationId::from([7; 16]));
        let probe = Probe { method_name: "reboot".to_owned(), response_timeout_seconds: 30 };
        let message = Mqtt5Publish::to_device(&device, MessageType::Probe, id, &probe);
        let packet = Mqtt5Outbound::Publish(&message).encode();
        let members = sent(&packet);
        assert_eq!(members["topic"], "ih/d1/dev/methods");
        assert_eq!(members["type"], "probe:1");
        assert_eq!(members["correlationId"], id.to_string());
        assert_eq!(members["body"], r#"{"methodName":"reboot","responseTimeoutSeconds":30}"#);
        assert!(!members.contains_key("bodyBase64"));
    }

    #[test]
    fn other_packets_have_their_reason() {
        let reason = ReasonCode::NOT_AUTHORIZED;
        for (packet, name) in [
            (Mqtt5Outbound::PubAck { id: 1, reason }, "PUBACK"),
            (Mqtt5Outbound::Disconnect(reason), "DISCONNECT"),
            (
                Mqtt5Outbound::ConnAck { session_present: false, reason, session_expiry: None },
                "CONNACK",
            ),
        ] {
            let members = sent(&packet.encode());
            assert_eq!(members["packet"], name);
            assert_eq!(members["reason"], reason.to_string());
        }
        let accepted = Mqtt5Outbound::PubAck { id: 1, reason: ReasonCode::SUCCESS }.encode();
        assert_eq!(sent(&accepted)["reason"], ReasonCode::SUCCESS.to_string());
        assert_eq!(sent(&Mqtt5Outbound::PingResp.encode())["packet"], "PINGRESP");
    }
}
