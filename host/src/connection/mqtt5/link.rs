//! A TLS connection with MQTT 5, on which a [`Translator`] makes the packets of a session.

use std::collections::VecDeque;
use std::future::poll_fn;

use futures_util::{SinkExt as _, StreamExt as _};
use protocol::id::DeviceId;
use protocol::mqtt5::{CorrelationId, Mqtt5UserName};
use rumqttc::Packet;
use rumqttc::v5::mqttbytes::v5::{ConnAck, Connect, ConnectProperties, Login, Packet as Packet5};
use tokio::net::TcpStream;
use tokio::time::timeout_at;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::Framed;

use super::codec::{MAX_INCOMING_BYTES, Packets5};
use super::{Translated, Translator};
use crate::connection::client::CLIENT_TYPE;
use crate::connection::failure::ConnectionFailure;
use crate::connection::received::Received;

/// The time for which the hub keeps the session without a connection.
const SESSION_SECONDS: u32 = 3600;

/// A connection with MQTT 5.
pub(in crate::connection) struct Mqtt5Link {
    framed: Framed<TlsStream<TcpStream>, Packets5>,
    /// `None` until the hub has accepted the device.
    translator: Option<Translator>,
    /// Packets for the session that have already arrived.
    inbox: VecDeque<Received>,
    /// Packets for the hub that the session does not know.
    replies: VecDeque<Packet5>,
    /// `true` if sent packets are still in the buffer.
    is_buffered: bool,
}

impl Mqtt5Link {
    pub(in crate::connection) fn new(stream: TlsStream<TcpStream>) -> Mqtt5Link {
        Mqtt5Link {
            framed: Framed::new(stream, Packets5::default()),
            translator: None,
            inbox: VecDeque::new(),
            replies: VecDeque::new(),
            is_buffered: false,
        }
    }

    /// Sends CONNECT and returns the answer, which may be a refusal.
    pub(in crate::connection) async fn sign_in(
        &mut self,
        device: &DeviceId,
        nonce: CorrelationId,
        keep_alive: u16,
    ) -> Result<ConnAck, ConnectionFailure> {
        let properties = ConnectProperties {
            session_expiry_interval: Some(SESSION_SECONDS),
            max_packet_size: Some(MAX_INCOMING_BYTES),
            ..ConnectProperties::new()
        };
        let connect = Connect {
            keep_alive,
            client_id: device.to_string(),
            clean_start: false,
            properties: Some(properties),
        };
        let user = Mqtt5UserName { nonce, client_version: Some(CLIENT_TYPE.to_owned()) };
        // An empty password is not sent.
        let login = Login::new(user.to_string(), "");
        let packet = Packet5::Connect(connect, None, Some(login));
        self.framed.send(packet).await.map_err(|e| ConnectionFailure::codec5(&e))?;
        match self.receive().await? {
            Packet5::ConnAck(ack) => Ok(ack),
            _ => Err(ConnectionFailure::new(
                "the hub does not speak MQTT 5: its first packet is not a CONNACK",
            )),
        }
    }

    /// Translates all further packets.
    pub(in crate::connection) fn translate(&mut self, translator: Translator) {
        self.translator = Some(translator);
    }

    /// Waits for the next packet for the session. No packet is lost if the future is dropped.
    pub(in crate::connection) async fn next(&mut self) -> Result<Received, ConnectionFailure> {
        loop {
            if let Some(received) = self.inbox.pop_front() {
                return Ok(received);
            }
            self.send_replies().await?;
            let expiry = self.translator.as_ref().and_then(Translator::next_expiry);
            let packet = match expiry {
                Some(expiry) => timeout_at(expiry, self.receive()).await.ok(),
                None => Some(self.receive().await),
            };
            let Some(translator) = &mut self.translator else { continue };
            let translated = match packet {
                Some(packet) => translator.incoming(packet?)?,
                None => translator.expired(),
            };
            self.take(translated);
        }
    }

    /// Adds a packet of the session to the send buffer.
    pub(in crate::connection) async fn feed(
        &mut self,
        packet: Packet,
    ) -> Result<(), ConnectionFailure> {
        if let Some(translator) = &mut self.translator {
            let translated = translator.outgoing(packet);
            self.take(translated);
        }
        self.feed_replies().await
    }

    /// Sends the packets in the send buffer.
    pub(in crate::connection) async fn flush(&mut self) -> Result<(), ConnectionFailure> {
        self.send_replies().await
    }

    fn take(&mut self, translated: Vec<Translated>) {
        for packet in translated {
            match packet {
                Translated::ToSession(packet) => self.inbox.push_back(Received::Packet(packet)),
                Translated::Refused { id, reason } => {
                    self.inbox.push_back(Received::Refused { id, reason });
                }
                Translated::ToHub(packet) => self.replies.push_back(packet),
            }
        }
    }

    async fn feed_replies(&mut self) -> Result<(), ConnectionFailure> {
        while !self.replies.is_empty() {
            // A packet leaves the queue only once the buffer has room for it.
            let ready = poll_fn(|cx| self.framed.poll_ready_unpin(cx)).await;
            ready.map_err(|e| ConnectionFailure::codec5(&e))?;
            let Some(packet) = self.replies.pop_front() else { break };
            self.framed.start_send_unpin(packet).map_err(|e| ConnectionFailure::codec5(&e))?;
            self.is_buffered = true;
        }
        Ok(())
    }

    async fn send_replies(&mut self) -> Result<(), ConnectionFailure> {
        self.feed_replies().await?;
        if self.is_buffered {
            let flushed = poll_fn(|cx| self.framed.poll_flush_unpin(cx)).await;
            flushed.map_err(|e| ConnectionFailure::codec5(&e))?;
            self.is_buffered = false;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<Packet5, ConnectionFailure> {
        match self.framed.next().await {
            Some(packet) => packet.map_err(|e| ConnectionFailure::codec5(&e)),
            None => Err(ConnectionFailure::closed("the hub closed the connection")),
        }
    }
}
