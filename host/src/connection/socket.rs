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

/// A TLS connection that carries packets.
pub(super) struct Socket(Box<Framed<TlsStream<TcpStream>, Packets>>);

impl Socket {
    /// Connects to the host `name`, without signing in.
    pub(super) async fn open(
        name: &str,
        port: u16,
        tls: Arc<ClientConfig>,
    ) -> Result<Socket, ConnectionFailure> {
        let server = ServerName::try_from(name.to_owned()).map_err(|_| {
            ConnectionFailure::new(format!(
                "`{name}` is not a host name that a certificate can contain"
            ))
        })?;
        let socket = address::connect(name, port).await?;
        // Nagle's algorithm and delayed acknowledgements together cost 40 ms per answer.
        socket.set_nodelay(true).map_err(|e| ConnectionFailure::io(&e))?;
        let connector = TlsConnector::from(tls);
        let socket =
            connector.connect(server, socket).await.map_err(|e| ConnectionFailure::io(&e))?;
        Ok(Socket(Box::new(Framed::new(socket, Packets::default()))))
    }

    /// Sends CONNECT and returns the answer, which may be a refusal.
    pub(super) async fn sign_in(&mut self, connect: Connect) -> Result<ConnAck, ConnectionFailure> {
        self.send(Packet::Connect(connect)).await?;
        match self.next().await? {
            Packet::ConnAck(ack) => Ok(ack),
            _ => Err(ConnectionFailure::new(
                "the hub does not speak MQTT: its first packet is not a CONNACK",
            )),
        }
    }

    /// Waits for the next packet. No packet is lost if the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Packet, ConnectionFailure> {
        match self.0.next().await {
            Some(packet) => packet.map_err(|e| ConnectionFailure::codec(&e)),
            None => Err(ConnectionFailure::closed("the hub closed the connection")),
        }
    }

    /// Adds a packet to the send buffer, which [`Socket::flush`] empties.
    pub(super) async fn feed(&mut self, packet: Packet) -> Result<(), ConnectionFailure> {
        self.0.feed(packet).await.map_err(|e| ConnectionFailure::codec(&e))
    }

    /// Sends the packets in the send buffer.
    pub(super) async fn flush(&mut self) -> Result<(), ConnectionFailure> {
        self.0.flush().await.map_err(|e| ConnectionFailure::codec(&e))
    }

    /// Sends a packet.
    pub(super) async fn send(&mut self, packet: Packet) -> Result<(), ConnectionFailure> {
        self.feed(packet).await?;
        self.flush().await
    }
}
