//! A device that uses rumqttc alone, to measure the cost of a method without a sandbox.
//!
//! It corresponds to a handwritten program with two methods, without a twin, limits or
//! reconnects. Answers are sent at QoS 1, like those of the host.
//!
//! rumqttc's state machine and codec run over a TLS stream of the workspace's rustls, in
//! the same order as in its `EventLoop`. `EventLoop` itself is not used: it does not accept
//! a stream, and its TLS feature pins a version of rustls-webpki with known vulnerabilities.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::sas::sign;
use protocol::topic::{DeviceTopic, Filter, HubTopic};
use protocol::user_name::{API_VERSION, UserName};
use rumqttc::{
    Codec, Connect, ConnectReturnCode, Event, MqttState, Packet, PingReq, Publish, QoS, Request,
    Subscribe,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::codec::Framed;
use trust::Trust;

use super::{CA_FILE, IDENTITY};

/// The maximum number of pending requests.
const MAX_REQUESTS: usize = 20_000;

/// The maximum number of answers in flight, without a PUBACK.
const MAX_IN_FLIGHT: u16 = 512;

/// The maximum number of packets handled before their answers are written, as in rumqttc.
const MAX_PACKETS_AT_ONCE: usize = 10;

const MAX_PACKET_BYTES: usize = 1 << 20;

const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// Runs the device until the process is killed.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut link = Link::connect().await?;
    let (requests, mut pending) = mpsc::channel(MAX_REQUESTS);
    let filter = Subscribe::new(Filter::Methods.to_string(), QoS::AtLeastOnce);
    requests.send(Request::Subscribe(filter)).await?;
    let mut pings = tokio::time::interval(KEEP_ALIVE);
    pings.tick().await;
    loop {
        let has_capacity = link.state.inflight() < MAX_IN_FLIGHT && link.state.collision.is_none();
        tokio::select! {
            packet = link.packets.next() => link.receive(packet).await?,
            Some(request) = pending.recv(), if has_capacity => link.send(request).await?,
            _ = pings.tick() => link.send(Request::PingReq(PingReq)).await?,
        }
        while let Some(event) = link.state.events.pop_front() {
            if let Event::Incoming(Packet::Publish(publish)) = event {
                answer(&requests, publish)?;
            }
        }
    }
}

/// A session with the hub.
struct Link {
    packets: Framed<TlsStream<TcpStream>, Codec>,
    state: MqttState,
}

impl Link {
    async fn connect() -> anyhow::Result<Link> {
        let identity: DeviceConnectionString = std::env::var(IDENTITY)?.parse()?;
        let mut trust = Trust::of_system();
        trust.add_file(std::env::var(CA_FILE)?.as_ref())?;
        let DeviceCredential::Key(key) = &identity.credential else {
            bail!("the device has no key")
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let token = sign(&identity.resource(), None, key, now + 24 * 3600);
        let name = UserName {
            host: identity.host.clone(),
            device: identity.device.clone(),
            module: None,
            api_version: API_VERSION.to_owned(),
            client_type: None,
            model_id: None,
        };
        let port = identity.host.port().context("the hub's name has no port")?;
        let tcp = TcpStream::connect((identity.host.name(), port)).await?;
        tcp.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(trust.into_client_config()?));
        let tls = connector.connect(identity.host.name().to_owned().try_into()?, tcp).await?;
        let codec =
            Codec { max_incoming_size: MAX_PACKET_BYTES, max_outgoing_size: MAX_PACKET_BYTES };
        let mut packets = Framed::new(tls, codec);
        let mut connect = Connect::new(name.client_id());
        connect.keep_alive = u16::try_from(KEEP_ALIVE.as_secs())?;
        connect.set_login(name.to_string(), token.to_string());
        packets.send(Packet::Connect(connect)).await?;
        match packets.next().await {
            Some(Ok(Packet::ConnAck(ack))) if ack.code == ConnectReturnCode::Success => {}
            other => bail!("no CONNACK: {other:?}"),
        }
        Ok(Link { packets, state: MqttState::new(MAX_IN_FLIGHT, false) })
    }

    /// Handles a packet and all packets already received after it, then sends all answers.
    async fn receive(&mut self, first: Option<Received>) -> anyhow::Result<()> {
        let mut next = Some(first);
        let mut handled = 0;
        while let Some(packet) = next {
            let packet = packet.context("the hub ended the connection")??;
            if let Some(outgoing) = self.state.handle_incoming_packet(packet)? {
                self.packets.feed(outgoing).await?;
            }
            handled += 1;
            // A packet must be handled once it is taken from the stream.
            next = match handled {
                MAX_PACKETS_AT_ONCE => None,
                _ => self.packets.next().now_or_never(),
            };
        }
        Ok(self.packets.flush().await?)
    }

    async fn send(&mut self, request: Request) -> anyhow::Result<()> {
        if let Some(outgoing) = self.state.handle_outgoing_packet(request)? {
            self.packets.feed(outgoing).await?;
        }
        Ok(self.packets.flush().await?)
    }
}

type Received = Result<Packet, rumqttc::Error>;

fn answer(requests: &mpsc::Sender<Request>, publish: Publish) -> anyhow::Result<()> {
    let HubTopic::Method { name, rid } = publish.topic.parse()? else { return Ok(()) };
    let topic = DeviceTopic::MethodAnswer { status: 200, rid }.to_string();
    let response = Publish::from_bytes(topic, QoS::AtLeastOnce, publish.payload);
    if name.as_str() != "sleep" {
        requests.try_send(Request::Publish(response))?;
        return Ok(());
    }
    let milliseconds: u64 = std::str::from_utf8(&response.payload)?.parse()?;
    let requests = requests.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        // Sending fails only if the device is about to be killed.
        let _ = requests.send(Request::Publish(response)).await;
    });
    Ok(())
}
