//! A device with MQTT 5, made of rumqttc's packets.

use std::sync::Arc;

use behaviour_hub::Hub;
use bytes::{Bytes, BytesMut};
use protocol::mqtt5::{CorrelationId, Message, MessageType, Mqtt5UserName, Topic};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, ConnectReturnCode, Filter, LastWill, Login, Packet,
    PubAck, PubAckReason, Publish, PublishProperties, Subscribe, SubscribeReasonCode,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{TIMEOUT, request};

/// A registered device with its certificate.
pub(super) struct Device5 {
    pub(super) id: &'static str,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pub(super) connect: Connect,
    pub(super) will: Option<LastWill>,
    pub(super) user_name: String,
    pub(super) nonce: CorrelationId,
}

impl Device5 {
    /// Registers the device `d1` by the thumbprint of a new certificate.
    pub(super) async fn register(hub: &Hub) -> Device5 {
        let id = "d1";
        let made = rcgen::generate_simple_self_signed([id.to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let body = json!({"deviceId": id, "authentication": {"type": "selfSigned",
            "x509Thumbprint": {"primaryThumbprint": trust::sha256_thumbprint(&certificate)}}});
        let (status, answer) = request(hub, "PUT", "/devices/d1", &body).await;
        assert_eq!(status, 200, "{answer}");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let nonce = CorrelationId::from_random([7; 16]);
        let properties =
            ConnectProperties { session_expiry_interval: Some(3600), ..ConnectProperties::new() };
        let connect = Connect {
            keep_alive: 60,
            client_id: id.to_owned(),
            clean_start: false,
            properties: Some(properties),
        };
        let user_name = Mqtt5UserName { nonce, client_version: Some("test/1".to_owned()) };
        let user_name = user_name.to_string();
        Device5 { id, certificate, key, connect, will: None, user_name, nonce }
    }

    /// Signs in. Returns the connection and the CONNACK.
    pub(super) async fn sign_in(&self, hub: &Hub) -> (Connection5, ConnAck) {
        use rustls::pki_types::pem::PemObject as _;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(hub.ca_pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap();
        let tcp = TcpStream::connect(("127.0.0.1", hub.mqtt_port())).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
        let mut connection =
            Connection5 { stream, buffer: BytesMut::new(), device: self.id, nonce: self.nonce };
        let login = Login::new(self.user_name.clone(), "");
        connection
            .send(Packet::Connect(self.connect.clone(), self.will.clone(), Some(login)))
            .await;
        match connection.next().await {
            Some(Packet::ConnAck(ack)) => (connection, ack),
            other => panic!("{other:?}"),
        }
    }

    /// Signs in, subscribes and sends the birth. Returns the connection after the answer.
    pub(super) async fn admitted(&self, hub: &Hub) -> Connection5 {
        let (mut connection, ack) = self.sign_in(hub).await;
        assert_eq!(ack.code, ConnectReturnCode::Success);
        connection.subscribe().await;
        connection.birth(&protocol::mqtt5::Birth::default()).await;
        connection.message(MessageType::BirthAck).await;
        connection
    }
}

/// A connection after its CONNACK.
pub(super) struct Connection5 {
    stream: TlsStream<TcpStream>,
    buffer: BytesMut,
    device: &'static str,
    pub(super) nonce: CorrelationId,
}

impl Connection5 {
    pub(super) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// Returns the next packet, or `None` at the end of the connection.
    pub(super) async fn next(&mut self) -> Option<Packet> {
        loop {
            if let Ok(packet) = Packet::read(&mut self.buffer, None) {
                return Some(packet);
            }
            let read = timeout(TIMEOUT, self.stream.read_buf(&mut self.buffer)).await.unwrap();
            if read.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Subscribes to the topics of the device.
    pub(super) async fn subscribe(&mut self) {
        let filter = Topic::filter(&self.device.parse().unwrap());
        let granted = self.subscribe_to(&filter).await;
        assert_eq!(granted, SubscribeReasonCode::Success(QoS::AtLeastOnce));
    }

    pub(super) async fn subscribe_to(&mut self, filter: &str) -> SubscribeReasonCode {
        let mut subscribe = Subscribe::new(Filter::new(filter, QoS::AtLeastOnce), None);
        subscribe.pkid = 1;
        self.send(Packet::Subscribe(subscribe)).await;
        match self.next().await {
            Some(Packet::SubAck(ack)) => ack.return_codes[0],
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn birth(&mut self, birth: &protocol::mqtt5::Birth) {
        self.publish(MessageType::Birth, self.nonce, birth, QoS::AtMostOnce).await;
    }

    /// Publishes a message of the profile, at QoS 1 with the packet id 9.
    pub(super) async fn publish(
        &mut self,
        kind: MessageType,
        correlation: CorrelationId,
        message: &impl Message,
        qos: QoS,
    ) {
        let topic = Topic {
            device: self.device.parse().unwrap(),
            direction: kind.direction(),
            feature: kind.feature(),
        };
        let properties = PublishProperties {
            correlation_data: Some(Bytes::copy_from_slice(correlation.as_bytes())),
            user_properties: vec![("type".to_owned(), kind.to_string())],
            ..PublishProperties::default()
        };
        self.publish_to(&topic.to_string(), message.encode(), properties, qos).await;
    }

    pub(super) async fn publish_to(
        &mut self,
        topic: &str,
        payload: impl Into<Bytes>,
        properties: PublishProperties,
        qos: QoS,
    ) {
        let mut publish = Publish::new(topic, qos, payload, Some(properties));
        publish.pkid = if qos == QoS::AtMostOnce { 0 } else { 9 };
        self.send(Packet::Publish(publish)).await;
    }

    /// Waits for the acknowledgement of a message.
    pub(super) async fn acknowledged(&mut self) -> PubAckReason {
        loop {
            match self.next().await {
                Some(Packet::PubAck(ack)) => {
                    assert_eq!(ack.pkid, 9);
                    return ack.reason;
                }
                Some(Packet::Publish(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits for a message of this type and acknowledges it.
    pub(super) async fn message(&mut self, kind: MessageType) -> Received {
        loop {
            let Some(Packet::Publish(publish)) = self.next().await else { continue };
            if publish.pkid != 0 {
                self.send(Packet::PubAck(PubAck::new(publish.pkid, None))).await;
            }
            let properties = publish.properties.clone().unwrap();
            if properties.user_properties == [("type".to_owned(), kind.to_string())] {
                return Received {
                    correlation: CorrelationId::try_from(&properties.correlation_data.unwrap()[..])
                        .unwrap(),
                    expiry: properties.message_expiry_interval,
                    publish,
                };
            }
        }
    }

    /// Returns the reason of the DISCONNECT with which the hub ends the connection.
    pub(super) async fn disconnected(&mut self) -> u8 {
        loop {
            match self.next().await {
                Some(Packet::Disconnect(disconnect)) => return disconnect.reason_code as u8,
                Some(_) => {}
                None => panic!("no DISCONNECT"),
            }
        }
    }
}

/// A message of the hub.
pub(super) struct Received {
    pub(super) publish: Publish,
    pub(super) correlation: CorrelationId,
    pub(super) expiry: Option<u32>,
}

impl Received {
    pub(super) fn decode<M: Message>(&self) -> M {
        M::decode(&self.publish.payload).unwrap()
    }
}

/// Calls a method of the device.
pub(super) async fn call(hub: &Hub, name: &str, payload: &Value) -> (u16, Value) {
    let body = json!({"methodName": name, "payload": payload, "responseTimeoutInSeconds": 30});
    request(hub, "POST", "/twins/d1/methods", &body).await
}
