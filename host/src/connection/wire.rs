//! One signed-in connection to the hub: TCP, TLS, MQTT CONNECT, then packets in both
//! directions.
//!
//! After signing in, this module does not interpret packets, and does not decide what is
//! sent again on the next connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use protocol::mqtt5::ConnectionProfile;
use rumqttc::v5::mqttbytes::v5::ConnectReturnCode as ConnectReturnCode5;
use rumqttc::{Connect, ConnectReturnCode, Login, Packet};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

use super::certificate::DeviceCertificate;
use super::failure::ConnectionFailure;
use super::mqtt5::{self, Mqtt5Connection, Mqtt5Link, Translator};
use super::options::Dial;
use super::received::Received;
use super::socket::{self, Socket};

/// The time limit from the lookup of the hub's name to the CONNACK.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(30);

/// A connection on which the device has signed in.
pub(super) struct Wire {
    socket: Socket,
    /// `true` if the hub has kept the session of an earlier connection.
    pub(super) session_present: bool,
    /// The lifetime of the connection's token; `None` if the token cannot be renewed.
    pub(super) token: Option<TokenTimes>,
    /// The certificate that the device has signed in with, if it has one.
    pub(super) certificate: Option<Arc<DeviceCertificate>>,
}

/// The start and duration of a token's validity.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenTimes {
    pub(super) issued: Instant,
    pub(super) lifetime: Duration,
}

impl Wire {
    /// Connects and signs in with a fresh token, or with the certificate. The hub closes an older
    /// connection of the device only when it accepts this one.
    pub(super) async fn open(dial: &Dial) -> Result<Wire, ConnectionFailure> {
        let opened = match timeout(CONNECT_WAIT, Wire::sign_in(dial)).await {
            Ok(opened) => opened,
            Err(_) => Err(ConnectionFailure::no_answer()),
        };
        let (wall, now) = (SystemTime::now(), Instant::now());
        match opened {
            Ok(wire) => {
                dial.clock_step().signed_in(wall, now);
                Ok(wire)
            }
            Err(failure) => {
                // The host gets another issued certificate by itself.
                let live = dial.certificate().filter(|_| dial.issued().is_none());
                let invalid = live.and_then(|live| live.check_time(Timestamp::now()).err());
                let failure = failure.with_validity(invalid.as_ref());
                Err(failure.with_clock_step(dial.clock_step().set_back(wall, now)))
            }
        }
    }

    async fn sign_in(dial: &Dial) -> Result<Wire, ConnectionFailure> {
        let (name, port) = dial.address();
        let certificate = dial.fresh_certificate().await;
        // The credential of the registration gets another one, so the hub need not refuse it.
        if let (Some(_), Some(expired)) = (dial.issued(), &certificate)
            && Timestamp::now() > expired.valid_until()
        {
            return Err(ConnectionFailure::expired(expired.valid_until()));
        }
        let tls = dial.tls(certificate.as_deref()).await;
        let socket = match dial.profile() {
            ConnectionProfile::Classic => Socket::open(name, port, tls).await?,
            ConnectionProfile::MqttV5 => {
                return Wire::sign_in_with_mqtt5(dial, tls, certificate).await;
            }
        };

        // The token is created after the handshake, which can be slow, to keep its full lifetime.
        let password = dial.password();
        let issued = Instant::now();
        let user_name = dial.user_name();
        let mut connect = Connect::new(user_name.client_id());
        connect.clean_session = false;
        connect.keep_alive = whole_seconds(dial.ping_interval());
        // An empty password is not sent.
        let text = password.as_ref().map(|it| it.token.to_string()).unwrap_or_default();
        connect.login = Some(Login::new(user_name.to_string(), text));

        let lifetime = password.and_then(|password| password.lifetime);
        let token = lifetime.map(|lifetime| TokenTimes { issued, lifetime });
        let mut wire = Wire { socket, session_present: false, token, certificate };
        let ack = wire.socket.sign_in(connect).await?;
        if ack.code != ConnectReturnCode::Success {
            return Err(ConnectionFailure::refused(ack.code, wire.certificate.is_some()));
        }
        wire.session_present = ack.session_present;
        if let Some(issued) = dial.issued() {
            issued.accepted().await;
        }
        Ok(wire)
    }

    /// Signs in with MQTT 5. The device has a certificate and no token.
    async fn sign_in_with_mqtt5(
        dial: &Dial,
        tls: Arc<ClientConfig>,
        certificate: Option<Arc<DeviceCertificate>>,
    ) -> Result<Wire, ConnectionFailure> {
        let (name, port) = dial.address();
        let mut link = Mqtt5Link::new(socket::connect(name, port, tls).await?);
        let device = dial.identity().device.clone();
        let nonce = mqtt5::new_nonce();
        let keep_alive = whole_seconds(dial.ping_interval());
        let ack = link.sign_in(&device, nonce, keep_alive).await?;
        if ack.code != ConnectReturnCode5::Success {
            return Err(ConnectionFailure::refused5(ack.code));
        }
        if let Some(issued) = dial.issued() {
            issued.accepted().await;
        }
        let session_present = ack.session_present;
        let properties = ack.properties.as_ref();
        link.translate(Translator::new(Mqtt5Connection {
            device,
            nonce,
            session_present,
            max_packet_bytes: properties.and_then(|properties| properties.max_packet_size),
            telemetry_topic: dial.telemetry_topic(),
            methods: dial.methods(),
        }));
        let socket = Socket::Mqtt5(Box::new(link));
        Ok(Wire { socket, session_present, token: None, certificate })
    }

    /// Waits for the next packet from the hub. No packet is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Received, ConnectionFailure> {
        self.socket.next().await
    }

    /// Returns the next packet if it has already arrived.
    pub(super) fn try_next(&mut self) -> Option<Result<Received, ConnectionFailure>> {
        self.next().now_or_never()
    }

    /// Adds a packet to the send buffer, which [`Wire::flush`] empties.
    pub(super) async fn feed(&mut self, packet: Packet) -> Result<(), ConnectionFailure> {
        self.socket.feed(packet).await
    }

    /// Sends the packets in the send buffer.
    pub(super) async fn flush(&mut self) -> Result<(), ConnectionFailure> {
        self.socket.flush().await
    }
}

/// Returns the keep-alive for CONNECT, in whole seconds: the interval of the pings, rounded
/// up, and at most 65,535.
fn whole_seconds(ping_interval: Duration) -> u16 {
    u16::try_from(ping_interval.as_millis().div_ceil(1000)).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keep_alive_is_never_shorter_than_the_interval_of_pings() {
        let seconds =
            [1000, 1001, 1750, 2000, 90_000_000].map(Duration::from_millis).map(whole_seconds);
        assert_eq!(seconds, [1, 2, 2, 2, u16::MAX]);
    }
}
