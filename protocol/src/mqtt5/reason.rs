//! Reason codes of MQTT 5.

use std::fmt;

/// The reason code of a CONNACK, SUBACK, PUBACK or DISCONNECT (MQTT 5, section 2.4).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReasonCode(pub u8);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        impl ReasonCode {
            $($(#[$doc])* pub const $name: ReasonCode = ReasonCode($code);)*

            /// Returns the name of the code in lower case, if the standard has one.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    /// Success, normal disconnection, or granted QoS 0.
    SUCCESS = 0x00, "success";
    /// Granted QoS 1.
    GRANTED_QOS_1 = 0x01, "granted QoS 1";
    /// End of the connection after which the will is published.
    DISCONNECT_WITH_WILL = 0x04, "disconnect with will";
    /// A message that nobody has subscribed to.
    NO_MATCHING_SUBSCRIBERS = 0x10, "no matching subscribers";
    /// An error without a more precise code.
    UNSPECIFIED = 0x80, "unspecified error";
    /// A packet that violates the standard.
    MALFORMED_PACKET = 0x81, "malformed packet";
    /// A packet that is not allowed at this point.
    PROTOCOL_ERROR = 0x82, "protocol error";
    /// An error of this implementation.
    IMPLEMENTATION_ERROR = 0x83, "implementation specific error";
    /// Another version of MQTT.
    UNSUPPORTED_VERSION = 0x84, "unsupported protocol version";
    /// A client id that is not allowed.
    CLIENT_ID_NOT_VALID = 0x85, "client identifier not valid";
    /// A malformed user name or password.
    BAD_USER_NAME = 0x86, "bad user name or password";
    /// A client, topic or filter that is not allowed.
    NOT_AUTHORIZED = 0x87, "not authorized";
    /// A server that is not available.
    SERVER_UNAVAILABLE = 0x88, "server unavailable";
    /// A server that is busy.
    SERVER_BUSY = 0x89, "server busy";
    /// A client that is banned.
    BANNED = 0x8a, "banned";
    /// A server that shuts down.
    SERVER_SHUTTING_DOWN = 0x8b, "server shutting down";
    /// An authentication method that is not supported.
    BAD_AUTHENTICATION_METHOD = 0x8c, "bad authentication method";
    /// Silence for one and a half times the keep-alive.
    KEEP_ALIVE_TIMEOUT = 0x8d, "keep alive timeout";
    /// A newer connection of the same client.
    SESSION_TAKEN_OVER = 0x8e, "session taken over";
    /// A filter that is not allowed.
    TOPIC_FILTER_INVALID = 0x8f, "topic filter invalid";
    /// A topic that is not allowed.
    TOPIC_NAME_INVALID = 0x90, "topic name invalid";
    /// A packet id that is in use.
    PACKET_ID_IN_USE = 0x91, "packet identifier in use";
    /// More messages in flight than allowed.
    RECEIVE_MAXIMUM_EXCEEDED = 0x93, "receive maximum exceeded";
    /// A topic alias that is not allowed.
    TOPIC_ALIAS_INVALID = 0x94, "topic alias invalid";
    /// A packet that is too large.
    PACKET_TOO_LARGE = 0x95, "packet too large";
    /// Messages that arrive too fast.
    MESSAGE_RATE_TOO_HIGH = 0x96, "message rate too high";
    /// A quota that is exceeded.
    QUOTA_EXCEEDED = 0x97, "quota exceeded";
    /// An action of an administrator.
    ADMINISTRATIVE_ACTION = 0x98, "administrative action";
    /// A payload of another format than announced.
    PAYLOAD_FORMAT_INVALID = 0x99, "payload format invalid";
    /// A retained message, which is not supported.
    RETAIN_NOT_SUPPORTED = 0x9a, "retain not supported";
    /// A QoS that is not supported.
    QOS_NOT_SUPPORTED = 0x9b, "QoS not supported";
    /// Another server for now.
    USE_ANOTHER_SERVER = 0x9c, "use another server";
    /// Another server for good.
    SERVER_MOVED = 0x9d, "server moved";
    /// A shared subscription, which is not supported.
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9e, "shared subscriptions not supported";
    /// Connections that are opened too fast.
    CONNECTION_RATE_EXCEEDED = 0x9f, "connection rate exceeded";
    /// The maximum time of a connection.
    MAXIMUM_CONNECT_TIME = 0xa0, "maximum connect time";
    /// A subscription identifier, which is not supported.
    SUBSCRIPTION_IDS_NOT_SUPPORTED = 0xa1, "subscription identifiers not supported";
    /// A wildcard, which is not supported.
    WILDCARDS_NOT_SUPPORTED = 0xa2, "wildcard subscriptions not supported";
}

impl ReasonCode {
    /// Returns `true` for the codes from 0x80, which refuse something.
    #[must_use]
    pub fn is_error(self) -> bool {
        self.0 >= 0x80
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{:#04x} ({name})", self.0),
            None => write!(f, "{:#04x}", self.0),
        }
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
