//! Clients for the tests: a device and a service.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use behaviour_hub::{Hub, HubConfig};
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::id::DeviceId;
use protocol::sas;
use protocol::user_name::{API_VERSION, UserName};
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet, QoS,
};
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(super) const TIMEOUT: Duration = Duration::from_secs(20);

pub(super) fn id() -> DeviceId {
    "d1".parse().unwrap()
}

pub(super) async fn hub() -> Hub {
    Hub::start(HubConfig { token_grace: Duration::ZERO, ..HubConfig::default() }).await.unwrap()
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Opens a TLS connection to a port of the hub. Trusts only the hub's authority.
pub(super) async fn tls_connect(ca_pem: &str, port: u16) -> io::Result<TlsStream<TcpStream>> {
    tls_connect_to(ca_pem, (Ipv4Addr::LOCALHOST, port).into()).await
}

pub(super) async fn tls_connect_to(
    ca_pem: &str,
    address: SocketAddr,
) -> io::Result<TlsStream<TcpStream>> {
    tls_connect_as(ca_pem, address, "localhost").await
}

/// Opens a TLS connection to the host with this name.
pub(super) async fn tls_connect_as(
    ca_pem: &str,
    address: SocketAddr,
    name: &str,
) -> io::Result<TlsStream<TcpStream>> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// Opens a port that forwards each connection to the hub's MQTT port over TLS. If either side
/// ends, the other one is closed without a TLS shutdown, like a connection of rumqttc.
///
/// The TLS feature of rumqttc is disabled, since it pins a version of rustls-webpki with known
/// vulnerabilities.
pub(super) fn tls_relay(hub: &Hub) -> u16 {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let listener = TcpListener::from_std(listener).unwrap();
    let (ca_pem, hub_port) = (hub.ca_pem().to_owned(), hub.mqtt_port());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            // If the hub refuses the connection, the client sees it end at once.
            let Ok(tls) = tls_connect(&ca_pem, hub_port).await else { continue };
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.split();
                let (mut from_hub, mut to_hub) = tokio::io::split(tls);
                tokio::select! {
                    _ = tokio::io::copy(&mut from_client, &mut to_hub) => {}
                    _ = tokio::io::copy(&mut from_hub, &mut to_client) => {}
                }
            });
        }
    });
    port
}

/// A device with its connection options.
pub(super) struct Device {
    pub(super) options: MqttOptions,
}

impl Device {
    pub(super) fn of(hub: &Hub, identity: &DeviceConnectionString) -> Device {
        let DeviceCredential::Key(key) = &identity.credential else { panic!("no key") };
        let mut options = MqttOptions::new(identity.client_id(), "localhost", tls_relay(hub));
        options.set_clean_session(false).set_keep_alive(Duration::from_secs(60));
        let user = UserName {
            host: identity.host.clone(),
            device: identity.device.clone(),
            module: identity.module.clone(),
            api_version: API_VERSION.to_owned(),
            client_type: None,
            model_id: None,
        };
        let token = sas::sign(&identity.resource(), None, key, now() + 3600);
        options.set_credentials(user.to_string(), token.to_string());
        Device { options }
    }

    pub(super) async fn connect(
        &self,
    ) -> Result<(AsyncClient, EventLoop, bool), ConnectReturnCode> {
        let (client, mut events) = AsyncClient::new(self.options.clone(), 100);
        loop {
            match timeout(TIMEOUT, events.poll()).await.unwrap() {
                Ok(Event::Incoming(Packet::ConnAck(ack))) => {
                    return Ok((client, events, ack.session_present));
                }
                Ok(_) => {}
                Err(ConnectionError::ConnectionRefused(code)) => return Err(code),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// Waits for the next packet that `select` accepts, and returns its result.
pub(super) async fn next<T>(events: &mut EventLoop, select: impl Fn(Packet) -> Option<T>) -> T {
    loop {
        if let Event::Incoming(packet) = timeout(TIMEOUT, events.poll()).await.unwrap().unwrap()
            && let Some(found) = select(packet)
        {
            return found;
        }
    }
}

pub(super) async fn subscribe(client: &AsyncClient, events: &mut EventLoop, filter: &str) {
    client.subscribe(filter, QoS::AtMostOnce).await.unwrap();
    next(events, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
}

pub(super) fn published(packet: Packet) -> Option<(String, String)> {
    match packet {
        Packet::Publish(publish) => {
            Some((publish.topic, String::from_utf8(publish.payload.to_vec()).unwrap()))
        }
        _ => None,
    }
}

/// Waits until the connection ends, and returns the error.
pub(super) async fn closed(events: &mut EventLoop) -> ConnectionError {
    loop {
        if let Err(error) = timeout(TIMEOUT, events.poll()).await.unwrap() {
            return error;
        }
    }
}

/// Sends a request to the REST API with the policy `iothubowner`. Returns the status and the
/// body of the response.
pub(super) async fn request(hub: &Hub, method: &str, path: &str, body: &Value) -> (u16, Value) {
    request_with(hub, method, path, &[], &body.to_string()).await
}

/// Sends a request like [`request`], with headers and any body.
pub(super) async fn request_with(
    hub: &Hub,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, Value) {
    let owner = hub.service_connection_string();
    let resource = owner.host.name();
    let token = sas::sign(resource, Some(&owner.policy), &owner.key, now() + 60).to_string();
    let Response { status, body, .. } =
        send_request(hub, &token, method, path, headers, body).await;
    (status, serde_json::from_str(&body).unwrap_or_default())
}

/// A response, with its head as text.
pub(super) struct Response {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Response {
    /// Returns the value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends a request with a token.
pub(super) async fn send_request(
    hub: &Hub,
    token: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut stream = tls_connect(hub.ca_pem(), hub.https_port()).await.unwrap();
    let headers: String =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let query = if path.contains('?') { "" } else { "?" };
    let request = format!(
        "{method} {path}{query}api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: {token}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(TIMEOUT, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    let status = text.split(' ').nth(1).unwrap().parse().unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Response { status, head: head.to_owned(), body: body.to_owned() }
}

/// Waits for a future, with a limit.
pub(super) async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(TIMEOUT, work).await.unwrap()
}

/// Sends bytes to the hub's MQTT port at `address`. Returns everything that the hub sends
/// until it closes the connection.
pub(super) async fn exchange(hub: &Hub, address: IpAddr, bytes: &[u8]) -> Vec<u8> {
    let address = SocketAddr::new(address, hub.mqtt_port());
    let mut stream = tls_connect_to(hub.ca_pem(), address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    timeout(TIMEOUT, stream.read_to_end(&mut answer)).await.unwrap().ok();
    answer
}
