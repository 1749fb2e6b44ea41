//! MQTT over TLS up to the CONNACK, for the hub and for the Device Provisioning Service.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use rumqttc::{ConnAck, Connect, Packet};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::Framed;

use super::address;
use super::codec::Packets;
use super::failure::ConnectionFailure;
use super::mqtt5::Mqtt5Link;
use super::received::Received;

/// A TLS connection that carries packets.
pub(super) enum Socket {
    /// MQTT 3.1.1, as the session speaks it.
    Classic(Box<Framed<TlsStream<TcpStream>, Packets>>),
    Mqtt5(Box<Mqtt5Link>),
}

/// Connects to the host `name` and makes the TLS handshake.
pub(super) async fn connect(
    name: &str,
    port: u16,
    tls: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, ConnectionFailure> {
    let server = ServerName::try_from(name.to_owned()).map_err(|_| {
        ConnectionFailure::new(format!(
            "`{name}` is not a host name that a certificate can contain"
        ))
    })?;
    let socket = address::connect(name, port).await?;
    // Nagle's algorithm and delayed acknowledgements together cost 40 ms per answer.
    socket.set_nodelay(true).map_err(|e| ConnectionFailure::io(&e))?;
    let connector = TlsConnector::from(tls);
    connector.connect(server, socket).await.map_err(|e| ConnectionFailure::io(&e))
}

impl Socket {
    /// Connects to the host `name` for MQTT 3.1.1, without signing in.
    pub(super) async fn open(
        name: &str,
        port: u16,
        tls: Arc<ClientConfig>,
    ) -> Result<Socket, ConnectionFailure> {
        let stream = connect(name, port, tls).await?;
        Ok(Socket::Classic(Box::new(Framed::new(stream, Packets::default()))))
    }

    /// Sends CONNECT and returns the answer, which may be a refusal.
    pub(super) async fn sign_in(&mut self, connect: Connect) -> Result<ConnAck, ConnectionFailure> {
        self.send(Packet::Connect(connect)).await?;
        match self.packet().await? {
            Packet::ConnAck(ack) => Ok(ack),
            _ => Err(ConnectionFailure::new(
                "the hub does not speak MQTT: its first packet is not a CONNACK",
            )),
        }
    }

    /// Waits for the next packet, without refusals of messages.
    pub(super) async fn packet(&mut self) -> Result<Packet, ConnectionFailure> {
        loop {
            if let Received::Packet(packet) = self.next().await? {
                return Ok(packet);
            }
        }
    }

    /// Waits for the next packet or refusal. None is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Received, ConnectionFailure> {
        let framed = match self {
            Socket::Classic(framed) => framed,
            Socket::Mqtt5(link) => return link.next().await,
        };
        match framed.next().await {
            Some(packet) => packet.map(Received::Packet).map_err(|e| ConnectionFailure::codec(&e)),
            None => Err(ConnectionFailure::closed("the hub closed the connection")),
        }
    }

    /// Adds a packet to the send buffer, which [`Socket::flush`] empties.
    pub(super) async fn feed(&mut self, packet: Packet) -> Result<(), ConnectionFailure> {
        match self {
            Socket::Classic(framed) => {
                framed.feed(packet).await.map_err(|e| ConnectionFailure::codec(&e))
            }
            Socket::Mqtt5(link) => link.feed(packet).await,
        }
    }

    /// Sends the packets in the send buffer.
    pub(super) async fn flush(&mut self) -> Result<(), ConnectionFailure> {
        match self {
            Socket::Classic(framed) => {
                framed.flush().await.map_err(|e| ConnectionFailure::codec(&e))
            }
            Socket::Mqtt5(link) => link.flush().await,
        }
    }

    /// Sends a packet.
    pub(super) async fn send(&mut self, packet: Packet) -> Result<(), ConnectionFailure> {
        self.feed(packet).await?;
        self.flush().await
    }
}
