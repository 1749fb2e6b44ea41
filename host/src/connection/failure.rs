//! Failures of connections, described for the operator.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use protocol::mqtt5::ReasonCode;
use rumqttc::v5::mqttbytes as mqttbytes5;
use rumqttc::v5::mqttbytes::v5::ConnectReturnCode as ConnectReturnCode5;
use rumqttc::{ConnectReturnCode, mqttbytes};
use rustls::OtherError;
use trust::Distrust;

use super::certificate::CertificateError;
use crate::pkcs11::TokenError;

/// The reason why a connection ended or could not be established, with a hint for the
/// operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConnectionFailure {
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
    pub(super) kind: FailureKind,
}

/// The kind of a failure. It determines how long the next attempt waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// A network failure or an unreachable hub. Either may recover at any moment.
    Lost,
    /// An established connection that the hub closed.
    Closed,
    /// An established connection that was reset: by the network, or by a hub that closed it
    /// with unread bytes.
    Cut,
    /// An established connection that ended as in [`FailureKind::Closed`] or
    /// [`FailureKind::Cut`] while a packet was in flight, which may be the cause.
    Suspicious,
    /// A hub that is reachable but temporarily unavailable.
    Busy,
    /// A refusal by the hub, which will most likely refuse the next attempt as well.
    Refused,
    /// A refusal of the device's identity, which an assignment to another hub may resolve.
    Identity,
}

impl FailureKind {
    /// All kinds.
    pub(super) const ALL: [FailureKind; 7] = [
        FailureKind::Lost,
        FailureKind::Closed,
        FailureKind::Cut,
        FailureKind::Suspicious,
        FailureKind::Busy,
        FailureKind::Refused,
        FailureKind::Identity,
    ];

    /// Returns the name of the kind in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            FailureKind::Lost => "lost",
            FailureKind::Closed => "closed",
            FailureKind::Cut => "cut",
            FailureKind::Suspicious => "suspicious",
            FailureKind::Busy => "busy",
            FailureKind::Refused => "refused",
            FailureKind::Identity => "identity",
        }
    }
}

impl ConnectionFailure {
    /// Creates a failure of the kind [`FailureKind::Lost`].
    pub(super) fn new(message: impl Into<String>) -> ConnectionFailure {
        ConnectionFailure { message: message.into(), hint: None, kind: FailureKind::Lost }
    }

    /// Adds a hint that another client may use the same device id. `times` is the number of short
    /// connections in a row.
    pub(super) fn suspect_a_rival(&mut self, times: usize) {
        self.message += &format!(", {times} times in a row shortly after signing in");
        self.hint = Some(ONE_EACH);
    }

    /// Adds that the wall clock was set back by `step`, if the failure may be due to the clock.
    pub(super) fn with_clock_step(mut self, step: Option<Duration>) -> ConnectionFailure {
        let depends_on_clock = matches!(self.hint, Some(CHECK_IDENTITY | CHECK_CLOCK));
        if let Some(step) = step.filter(|_| depends_on_clock) {
            let step = program::duration::display(step);
            self.message +=
                &format!("; this machine's clock was set back by {step} since the last connection");
            self.hint = Some(CHECK_CLOCK);
        }
        self
    }

    /// Names the validity of the device's certificate as the reason of a refusal.
    pub(super) fn with_validity(mut self, error: Option<&CertificateError>) -> ConnectionFailure {
        if let Some(error) = error.filter(|_| self.kind == FailureKind::Identity) {
            self.message = format!("refused by the hub: {}", program::chain(error));
            self.hint = Some(error.hint());
        }
        self
    }

    /// Returns `true` if the hub itself refused the connection, temporarily or permanently.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.kind, FailureKind::Busy | FailureKind::Refused | FailureKind::Identity)
    }

    /// Creates a failure of the kind [`FailureKind::Closed`].
    pub(super) fn closed(message: &str) -> ConnectionFailure {
        ConnectionFailure { kind: FailureKind::Closed, ..ConnectionFailure::new(message) }
    }

    /// Appends the address to the message.
    pub(super) fn at(mut self, address: SocketAddr) -> ConnectionFailure {
        self.message += &format!(" ({address})");
        self
    }

    /// Returns `true` if the hub may have ended the connection because of a packet that it
    /// received.
    pub(super) fn may_be_deliberate(&self) -> bool {
        matches!(self.kind, FailureKind::Closed | FailureKind::Cut)
    }

    /// Creates the failure for an issued certificate that has expired.
    pub(super) fn expired(at: Timestamp) -> ConnectionFailure {
        ConnectionFailure {
            message: format!("the device certificate expired at {at}"),
            hint: Some(CHECK_CLOCK_OR_WAIT),
            kind: FailureKind::Identity,
        }
    }

    /// Creates the failure for an attempt that timed out.
    pub(super) fn no_answer() -> ConnectionFailure {
        ConnectionFailure::new("no answer to the connection").hint(CHECK_ADDRESS)
    }

    /// Converts an error of the codec: an error of its socket, or a malformed packet.
    pub(super) fn codec(error: &mqttbytes::Error) -> ConnectionFailure {
        match error {
            mqttbytes::Error::Io(error) => ConnectionFailure::io(error),
            other => ConnectionFailure::new(format!("the hub does not speak MQTT: {other}")),
        }
    }

    /// Converts an error of the socket or of TLS.
    pub(super) fn io(error: &io::Error) -> ConnectionFailure {
        if let Some(token) = token_error(error) {
            return ConnectionFailure::new(program::chain(token).to_string()).hint(token.hint());
        }
        if let Some(reason) = trust::distrust(error) {
            return untrusted(&reason);
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                ConnectionFailure::new("connection refused").hint(CHECK_ADDRESS)
            }
            io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => ConnectionFailure {
                kind: FailureKind::Cut,
                ..ConnectionFailure::new("the connection was cut")
            },
            // Closed without TLS's close_notify, as some hubs do.
            io::ErrorKind::UnexpectedEof => ConnectionFailure::closed("the connection was cut"),
            _ => ConnectionFailure::new(error.to_string()).hint(CHECK_ADDRESS),
        }
    }

    /// Converts the return code of a CONNACK that refuses the connection. `with_certificate` is
    /// `true` for a device that signs in with a certificate.
    pub(super) fn refused(code: ConnectReturnCode, with_certificate: bool) -> ConnectionFailure {
        let message = match code {
            ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNamePassword
                if with_certificate =>
            {
                return ConnectionFailure {
                    message: "refused by the hub: a certificate that is not registered or not \
                              valid, or a device that is unknown or disabled"
                        .to_owned(),
                    hint: Some(CHECK_CERTIFICATE),
                    kind: FailureKind::Identity,
                };
            }
            ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNamePassword => {
                return ConnectionFailure {
                    message: "refused by the hub: wrong key, expired token, or a device that is \
                           unknown or disabled"
                        .to_owned(),
                    hint: Some(CHECK_IDENTITY),
                    kind: FailureKind::Identity,
                };
            }
            ConnectReturnCode::ServiceUnavailable => {
                let message = "the hub is not available at the moment".to_owned();
                return ConnectionFailure { message, hint: None, kind: FailureKind::Busy };
            }
            ConnectReturnCode::BadClientId => {
                "refused by the hub: it does not accept this client id"
            }
            _ => "refused by the hub: it does not speak MQTT 3.1.1",
        };
        ConnectionFailure { message: message.to_owned(), hint: None, kind: FailureKind::Refused }
    }

    /// Converts an error of the codec of MQTT 5.
    pub(super) fn codec5(error: &mqttbytes5::Error) -> ConnectionFailure {
        match error {
            mqttbytes5::Error::Io(error) => ConnectionFailure::io(error),
            other => ConnectionFailure::new(format!("the hub does not speak MQTT 5: {other}")),
        }
    }

    /// Creates a failure of the kind [`FailureKind::Busy`].
    pub(super) fn busy(message: &str) -> ConnectionFailure {
        ConnectionFailure { kind: FailureKind::Busy, ..ConnectionFailure::new(message) }
    }

    /// Converts the reason code of a CONNACK that refuses the connection with MQTT 5. The device
    /// has a certificate.
    pub(super) fn refused5(code: ConnectReturnCode5) -> ConnectionFailure {
        use ConnectReturnCode5 as Code;
        match code {
            Code::NotAuthorized
            | Code::BadUserNamePassword
            | Code::ClientIdentifierNotValid
            | Code::BadAuthenticationMethod => {
                ConnectionFailure::refused(ConnectReturnCode::NotAuthorized, true)
            }
            Code::UnspecifiedError
            | Code::ImplementationSpecificError
            | Code::ServerUnavailable
            | Code::ServerBusy
            | Code::QuotaExceeded
            | Code::UseAnotherServer
            | Code::ConnectionRateExceeded => {
                ConnectionFailure::busy("the hub is not available at the moment")
            }
            Code::UnsupportedProtocolVersion | Code::RefusedProtocolVersion => ConnectionFailure {
                kind: FailureKind::Refused,
                hint: Some(CHECK_PROFILE),
                ..ConnectionFailure::new("refused by the hub: it does not speak MQTT 5")
            },
            other => ConnectionFailure {
                kind: FailureKind::Refused,
                ..ConnectionFailure::new(format!("refused by the hub: {other:?}"))
            },
        }
    }

    /// Converts the reason code of a DISCONNECT of the hub.
    pub(super) fn disconnected(reason: ReasonCode) -> ConnectionFailure {
        let message = format!("the hub sent DISCONNECT: {reason}");
        match reason {
            ReasonCode::NOT_AUTHORIZED | ReasonCode::BAD_AUTHENTICATION_METHOD => {
                let hint = Some(CHECK_CERTIFICATE);
                ConnectionFailure { message, hint, kind: FailureKind::Identity }
            }
            ReasonCode::SERVER_BUSY
            | ReasonCode::MESSAGE_RATE_TOO_HIGH
            | ReasonCode::QUOTA_EXCEEDED
            | ReasonCode::CONNECTION_RATE_EXCEEDED => ConnectionFailure::busy(&message),
            ReasonCode::SESSION_TAKEN_OVER => ConnectionFailure::new(message).hint(ONE_EACH),
            // A packet of the host may be the cause.
            ReasonCode::UNSPECIFIED
            | ReasonCode::MALFORMED_PACKET
            | ReasonCode::PROTOCOL_ERROR
            | ReasonCode::IMPLEMENTATION_ERROR
            | ReasonCode::TOPIC_NAME_INVALID
            | ReasonCode::RECEIVE_MAXIMUM_EXCEEDED
            | ReasonCode::TOPIC_ALIAS_INVALID
            | ReasonCode::PACKET_TOO_LARGE
            | ReasonCode::PAYLOAD_FORMAT_INVALID
            | ReasonCode::RETAIN_NOT_SUPPORTED
            | ReasonCode::QOS_NOT_SUPPORTED => ConnectionFailure::closed(&message),
            _ => ConnectionFailure::new(message),
        }
    }

    /// Converts a failure of a connection to the Device Provisioning Service, whose address is
    /// in another section.
    pub(super) fn of_provisioning(mut self) -> ConnectionFailure {
        self.message = self.message.replace("the hub", "the provisioning service");
        self.hint = self.hint.map(|hint| match hint {
            CHECK_ADDRESS => CHECK_ENDPOINT,
            CHECK_CA => CHECK_CA_OF_PROVISIONING,
            CHECK_NAME => CHECK_ENDPOINT_NAME,
            other => other,
        });
        self
    }

    fn hint(mut self, hint: &'static str) -> ConnectionFailure {
        self.hint = Some(hint);
        self
    }
}

const CHECK_IDENTITY: &str = "check the device's connection string, that the device exists and is \
                              enabled in the hub, and that this machine's clock is right";
const CHECK_CERTIFICATE: &str = "`behaviour-host identity show` shows the certificate; check its \
                                 thumbprint or its authority in the hub, and that the device is \
                                 enabled";
const CHECK_CLOCK_OR_WAIT: &str = "the host registers for another certificate; check this \
                                   machine's clock if this repeats";
const CHECK_PROFILE: &str = "set `profile` under [hub] to the connection profile of the hub";
const CHECK_CLOCK: &str = "set this machine's clock, for example with a time server; the host then \
                           connects by itself";
const CHECK_ADDRESS: &str = "check HostName in the connection string, `port` under [hub] and the \
                             network; MQTT over TLS is on port 8883";
const CHECK_CA: &str = "set `ca_file` under [hub], or IOTHUB_CA_FILE, to the certificate of the \
                        authority that signed the hub's";
const ONE_EACH: &str = "likely another client connects with this device's id, and the hub keeps \
                        the newest: stop the other one, or register a device for each";
const CHECK_NAME: &str =
    "HostName in the connection string must be a name of the hub's certificate";

const CHECK_ENDPOINT: &str = "check `endpoint` and `port` under [provisioning] and the network; \
                              MQTT over TLS is on port 8883";
const CHECK_CA_OF_PROVISIONING: &str = "set `ca_file` under [hub], or IOTHUB_CA_FILE, to the certificate of the authority that \
     signed the service's";
const CHECK_ENDPOINT_NAME: &str =
    "`endpoint` under [provisioning] must be a name of the service's certificate";

const OWN_CERTIFICATE: &str = "give the hub a certificate of its own, signed by that authority, in \
                               place of the authority's";

/// Returns the failure of a key in a token that made a handshake fail.
fn token_error(error: &io::Error) -> Option<&TokenError> {
    match error.get_ref()?.downcast_ref()? {
        rustls::Error::Other(OtherError(other)) => other.downcast_ref(),
        _ => None,
    }
}

fn untrusted(reason: &Distrust) -> ConnectionFailure {
    let failure = ConnectionFailure::new(format!("the hub's certificate {}", reason.text()));
    match reason {
        Distrust::Issuer => failure.hint(CHECK_CA),
        Distrust::Name => failure.hint(CHECK_NAME),
        Distrust::Authority => failure.hint(OWN_CERTIFICATE),
        Distrust::Time => failure.hint(CHECK_CLOCK),
        Distrust::Certificate(_) => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_after_the_clock_was_set_back_names_the_step_and_the_way_out() {
        let day = Some(Duration::from_secs(24 * 3600));
        let refused = || ConnectionFailure::refused(ConnectReturnCode::NotAuthorized, false);
        assert_eq!(refused().with_clock_step(None), refused());
        let failure = refused().with_clock_step(day);
        assert_eq!(
            failure.message,
            "refused by the hub: wrong key, expired token, or a device that is unknown or disabled; \
             this machine's clock was set back by 24h since the last connection"
        );
        assert_eq!(failure.hint, Some(CHECK_CLOCK));

        let certificate = untrusted(&Distrust::Time);
        assert_eq!(certificate.hint, Some(CHECK_CLOCK));
        assert!(certificate.with_clock_step(day).message.contains("set back by 24h"));
        let cut = ConnectionFailure::new("the connection was cut");
        assert_eq!(cut.clone().with_clock_step(day), cut);
    }

    #[test]
    fn a_failure_of_the_provisioning_service_names_its_own_section() {
        let hint = |failure: ConnectionFailure| failure.of_provisioning().hint.unwrap();
        assert!(hint(ConnectionFailure::no_answer()).starts_with("check `endpoint` and `port`"));
        let name = untrusted(&Distrust::Name).of_provisioning();
        assert!(name.message.starts_with("the provisioning service's certificate"), "{name:?}");
        assert!(hint(name).starts_with("`endpoint` under [provisioning]"));
        assert!(hint(untrusted(&Distrust::Issuer)).ends_with("signed the service's"));
        assert_eq!(hint(untrusted(&Distrust::Time)), CHECK_CLOCK);
    }
}
