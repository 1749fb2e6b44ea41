//! Many connected devices that are idle, with either connection profile. They are only sockets,
//! so that the memory of the hub is all that is measured.

use anyhow::{Context as _, bail};
use bytes::BytesMut;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use protocol::id::DeviceId;
use protocol::mqtt5::{
    Birth, ConnectionProfile, CorrelationId, Message as _, MessageType, Mqtt5UserName,
    TYPE_PROPERTY, Topic,
};
use protocol::registry::DeviceIdentity;
use protocol::topic::Filter;
use protocol::user_name::{API_VERSION, UserName};
use rumqttc::v5::mqttbytes as mqttbytes5;
use rumqttc::{
    Connect, ConnectReturnCode, Login, Packet, QoS, Subscribe, SubscribeFilter, mqttbytes,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::Certificate;
use crate::hub::Hub;

/// The number of devices that connect at the same time.
const AT_ONCE: usize = 32;

/// The keep-alive of the devices, which send no pings. It is longer than a measurement.
const KEEP_ALIVE_SECONDS: u16 = 1100;

/// Registers and connects devices, which all have the same certificate. Returns their sockets.
pub(crate) async fn connect(
    hub: &Hub,
    profile: ConnectionProfile,
    count: usize,
) -> anyhow::Result<Vec<TlsStream<TcpStream>>> {
    let certificate = Certificate::create("device")?;
    let tls = TlsConnector::from(certificate.client_config(hub.ca_file().as_ref())?);
    let authentication = certificate.registration()?;
    let connecting = (1..=count).map(|number| {
        let (tls, authentication) = (tls.clone(), authentication.clone());
        async move {
            let device: DeviceId = format!("idle-{number:04}").parse()?;
            let identity = DeviceIdentity {
                authentication: Some(authentication),
                ..DeviceIdentity::new(device.clone())
            };
            hub.client.create_identity(&identity).await?;
            let stream = TcpStream::connect(("127.0.0.1", hub.mqtt_port)).await?;
            let name = ServerName::try_from("localhost").expect("`localhost` is a name");
            let stream = tls.connect(name, stream).await?;
            match profile {
                ConnectionProfile::Classic => classic(stream, &device).await,
                ConnectionProfile::MqttV5 => mqtt5(stream, &device).await,
            }
        }
    });
    stream::iter(connecting).buffer_unordered(AT_ONCE).try_collect().await
}

/// Subscribes to what a host subscribes to.
async fn classic(
    mut stream: TlsStream<TcpStream>,
    device: &DeviceId,
) -> anyhow::Result<TlsStream<TcpStream>> {
    let user = UserName {
        host: "localhost".parse()?,
        device: device.clone(),
        module: None,
        api_version: API_VERSION.to_owned(),
        client_type: None,
        model_id: None,
    };
    let mut connect = Connect::new(user.client_id());
    connect.login = Some(Login::new(user.to_string(), ""));
    (connect.clean_session, connect.keep_alive) = (false, KEEP_ALIVE_SECONDS);
    let filters = [Filter::Methods, Filter::TwinAnswers, Filter::Desired];
    let filters = filters.map(|it| SubscribeFilter::new(it.to_string(), QoS::AtLeastOnce));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = 1;
    let mut bytes = BytesMut::new();
    for packet in [Packet::Connect(connect), Packet::Subscribe(subscribe)] {
        packet.write(&mut bytes, usize::MAX)?;
    }
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    bytes.clear();
    loop {
        match Packet::read(&mut bytes, usize::MAX) {
            Ok(Packet::SubAck(_)) => return Ok(stream),
            Ok(Packet::ConnAck(ack)) if ack.code != ConnectReturnCode::Success => {
                bail!("{device} is refused: {:?}", ack.code)
            }
            Ok(_) => {}
            Err(mqttbytes::Error::InsufficientBytes(_)) => more(&mut stream, &mut bytes).await?,
            Err(error) => bail!(error),
        }
    }
}

/// Subscribes and sends the birth.
async fn mqtt5(
    mut stream: TlsStream<TcpStream>,
    device: &DeviceId,
) -> anyhow::Result<TlsStream<TcpStream>> {
    use mqttbytes5::v5::{
        Connect, ConnectProperties, Filter, Login, Packet, Publish, PublishProperties, Subscribe,
    };
    let nonce = CorrelationId::from([1; 16]);
    let connect = Connect {
        keep_alive: KEEP_ALIVE_SECONDS,
        client_id: device.to_string(),
        clean_start: false,
        properties: Some(ConnectProperties {
            session_expiry_interval: Some(3600),
            ..ConnectProperties::new()
        }),
    };
    let user = Mqtt5UserName { nonce, client_version: None };
    let login = Some(Login::new(user.to_string(), ""));
    let filter = Filter::new(Topic::filter(device), mqttbytes5::QoS::AtLeastOnce);
    let mut subscribe = Subscribe::new(filter, None);
    subscribe.pkid = 1;
    let kind = MessageType::Birth;
    let topic =
        Topic { device: device.clone(), direction: kind.direction(), feature: kind.feature() };
    let properties = PublishProperties {
        correlation_data: Some(nonce.as_bytes().to_vec().into()),
        user_properties: vec![(TYPE_PROPERTY.to_owned(), kind.to_string())],
        ..PublishProperties::default()
    };
    let (qos, body) = (mqttbytes5::QoS::AtMostOnce, Birth::default().encode());
    let birth = Publish::new(topic.to_string(), qos, body, Some(properties));
    let mut bytes = BytesMut::new();
    for packet in [
        Packet::Connect(connect, None, login),
        Packet::Subscribe(subscribe),
        Packet::Publish(birth),
    ] {
        packet.write(&mut bytes, None)?;
    }
    stream.write_all(&bytes).await?;
    stream.flush().await?;
    bytes.clear();
    loop {
        match Packet::read(&mut bytes, None) {
            // The answer to the birth is the only message.
            Ok(Packet::Publish(_)) => return Ok(stream),
            Ok(Packet::ConnAck(ack)) if ack.code != mqttbytes5::v5::ConnectReturnCode::Success => {
                bail!("{device} is refused: {:?}", ack.code)
            }
            Ok(Packet::Disconnect(disconnect)) => bail!("{:?}", disconnect.reason_code),
            Ok(_) => {}
            Err(mqttbytes5::Error::InsufficientBytes(_)) => more(&mut stream, &mut bytes).await?,
            Err(error) => bail!(error),
        }
    }
}

async fn more(stream: &mut TlsStream<TcpStream>, bytes: &mut BytesMut) -> anyhow::Result<()> {
    let read = stream.read_buf(bytes).await?;
    (read > 0).then_some(()).context("the hub closed the connection")
}
