//! One signed-in connection to the hub: TCP, TLS, MQTT CONNECT, then packets in both
//! directions.
//!
//! After signing in, this module does not interpret packets, and does not decide what is
//! sent again on the next connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use rumqttc::{Connect, ConnectReturnCode, Login, Packet};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::Framed;

use super::address;
use super::certificate::DeviceCertificate;
use super::codec::Packets;
use super::failure::ConnectionFailure;
use super::options::Dial;

/// The time limit from the lookup of the hub's name to the CONNACK.
pub(super) const CONNECT_WAIT: Duration = Duration::from_secs(30);

/// A connection on which the device has signed in.
pub(super) struct Wire {
    framed: Box<Framed<TlsStream<TcpStream>, Packets>>,
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
    /// Connects and signs in with a fresh token, or with the certificate. The hub closes an older connection of the
    /// device only when it accepts this one.
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
            Err(failure) => Err(failure.with_clock_step(dial.clock_step().set_back(wall, now))),
        }
    }

    async fn sign_in(dial: &Dial) -> Result<Wire, ConnectionFailure> {
        let (name, port) = dial.address();
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            ConnectionFailure::new(format!(
                "`{name}` is not a host name that a certificate can contain"
            ))
        })?;
        let socket = address::connect(name, port).await?;
        // Nagle's algorithm and delayed acknowledgements together cost 40 ms per answer.
        socket.set_nodelay(true).map_err(|e| ConnectionFailure::io(&e))?;
        let certificate = dial.fresh_certificate().await;
        let connector = TlsConnector::from(dial.tls(certificate.as_deref()).await);
        let socket =
            connector.connect(server, socket).await.map_err(|e| ConnectionFailure::io(&e))?;
        let mut framed = Box::new(Framed::new(socket, Packets::default()));

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
        framed.send(Packet::Connect(connect)).await.map_err(|e| ConnectionFailure::codec(&e))?;

        let lifetime = password.and_then(|password| password.lifetime);
        let token = lifetime.map(|lifetime| TokenTimes { issued, lifetime });
        let mut wire = Wire { framed, session_present: false, token, certificate };
        match wire.next().await? {
            Packet::ConnAck(ack) if ack.code == ConnectReturnCode::Success => {
                wire.session_present = ack.session_present;
                Ok(wire)
            }
            Packet::ConnAck(ack) => {
                Err(ConnectionFailure::refused(ack.code, wire.certificate.is_some()))
            }
            _ => Err(ConnectionFailure::new(
                "the hub does not speak MQTT: its first packet is not a CONNACK",
            )),
        }
    }

    /// Waits for the next packet from the hub. No packet is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Packet, ConnectionFailure> {
        match self.framed.next().await {
            Some(packet) => packet.map_err(|e| ConnectionFailure::codec(&e)),
            None => Err(ConnectionFailure::closed("the hub closed the connection")),
        }
    }

    /// Returns the next packet if it has already arrived.
    pub(super) fn try_next(&mut self) -> Option<Result<Packet, ConnectionFailure>> {
        self.next().now_or_never()
    }

    /// Adds a packet to the send buffer, which [`Wire::flush`] empties.
    pub(super) async fn feed(&mut self, packet: Packet) -> Result<(), ConnectionFailure> {
        self.framed.feed(packet).await.map_err(|e| ConnectionFailure::codec(&e))
    }

    /// Sends the packets in the send buffer.
    pub(super) async fn flush(&mut self) -> Result<(), ConnectionFailure> {
        self.framed.flush().await.map_err(|e| ConnectionFailure::codec(&e))
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
