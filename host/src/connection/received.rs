//! Input of a session from its connection.

use protocol::mqtt5::ReasonCode;
use rumqttc::Packet;

/// Input of a session from its connection.
#[derive(Debug)]
pub(super) enum Received {
    /// A packet of the hub.
    Packet(Packet),
    /// A refusal of the message with this packet id, which MQTT 3.1.1 does not have.
    Refused { id: u16, reason: ReasonCode },
}
