//! A stand-in for Azure IoT Hub, for development and tests.
//!
//! [`Hub::start`] opens its ports on loopback and serves MQTT 3.1.1 over TLS to
//! devices and the REST API to services, as the official SDK clients expect
//! both; [`Hub::stop`], or dropping it, ends them. State is in memory, or kept
//! in a folder. It makes its own certificate authority.
//!
//! It is not for production: it has one node, no quotas, no routing of
//! telemetry, no jobs and no cloud-to-device messages.

mod ca;
mod faults;
mod listener;
mod mqtt;
mod policy;
mod query;
mod rest;
mod session;
mod sessions;
mod state;
mod telemetry;
mod websocket;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::routing::any;
use protocol::connection_string::{
    DeviceConnectionString, DeviceCredential, ServiceConnectionString,
};
use protocol::error::HubError;
use protocol::host_name::HostName;
use protocol::id::DeviceId;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use ca::CaError;
pub use faults::{Effect, Fault, FaultError, Faults, Forget, Refused, Step};
pub use state::StateError;
pub use telemetry::Message;

use ca::Authority;
use listener::{Front, Greeting};
use session::Shared;
use sessions::{Ending, Sessions};
use state::State;

/// The policy of the service connection string: all permissions.
const SERVICE_POLICY: &str = "iothubowner";

/// How long open connections may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(3);

/// Where the hub listens and what it keeps.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// The address of all ports. Loopback, unless told.
    pub address: IpAddr,
    /// Where devices connect; 0 takes a free port.
    pub mqtt_port: u16,
    /// Where services connect; 0 takes a free port.
    pub https_port: u16,
    /// A port that takes HTTP CONNECT to any host, for clients whose ports are
    /// hard-wired; 0 takes a free one, `None` opens none.
    pub connect_port: Option<u16>,
    /// Where state is kept; without, it is forgotten with the process.
    pub data: Option<PathBuf>,
    /// Where the certificate authority is kept; `data`, unless told.
    pub ca_folder: Option<PathBuf>,
    /// Names beside `localhost` and the address that the hub goes by.
    pub host_names: Vec<String>,
    /// How long an expired token keeps its connection; IoT Hub's is documented
    /// as about ten minutes.
    pub token_grace: Duration,
    /// Connections that may be open at once.
    pub max_connections: usize,
}

impl Default for HubConfig {
    fn default() -> HubConfig {
        HubConfig {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            mqtt_port: 0,
            https_port: 0,
            connect_port: None,
            data: None,
            ca_folder: None,
            host_names: Vec::new(),
            token_grace: Duration::from_secs(600),
            max_connections: 50_000,
        }
    }
}

/// Why the hub did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port that cannot be opened.
    #[error("cannot listen on {address} for {purpose}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// MQTT, HTTPS or CONNECT.
        purpose: &'static str,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The state that was kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// The certificate.
    #[error(transparent)]
    Ca(#[from] CaError),
}

/// A running hub.
pub struct Hub {
    state: Arc<State>,
    sessions: Arc<Sessions>,
    telemetry: broadcast::Sender<Message>,
    ca_pem: String,
    mqtt_port: u16,
    https_port: u16,
    connect_port: Option<u16>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Hub {
    /// Opens the ports and serves them until the hub is stopped or dropped.
    pub async fn start(config: HubConfig) -> Result<Hub, StartError> {
        let HubConfig { address, mqtt_port, https_port, connect_port, data, .. } = config;
        let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        names.extend(Some(address.to_string()).filter(|own| !names.contains(own)));
        names.extend(config.host_names);
        let state = State::open(data.as_deref(), names.clone())?;
        let authority = Authority::open(config.ca_folder.as_deref().or(data.as_deref()))?;
        let tls = TlsAcceptor::from(Arc::new(authority.server_config(&names)?));

        let (mqtt, mqtt_port) = bind(address, mqtt_port, "MQTT").await?;
        let (https, https_port) = bind(address, https_port, "HTTPS").await?;
        let connect = match connect_port {
            Some(port) => Some(bind(address, port, "CONNECT").await?),
            None => None,
        };

        let sessions = Sessions::new();
        let (telemetry, _) = broadcast::channel(telemetry::BACKLOG);
        let shared = Shared {
            state: Arc::clone(&state),
            sessions: Arc::clone(&sessions),
            telemetry: telemetry.clone(),
            token_grace: config.token_grace,
        };
        let for_websocket = shared.clone();
        let router = rest::router(Arc::clone(&state), Arc::clone(&sessions)).route(
            protocol::topic::WEBSOCKET_PATH,
            any(move |request: Request| websocket::upgrade(for_websocket.clone(), request)),
        );
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let places = Arc::new(Semaphore::new(config.max_connections));
        let front = Front { shared, router, tls, places, tasks: tasks.clone(), stop: stop.clone() };
        tasks.spawn(front.clone().listen(mqtt, Greeting::Tls));
        tasks.spawn(front.clone().listen(https, Greeting::Tls));
        let connect_port = connect.map(|(listener, port)| {
            tasks.spawn(front.listen(listener, Greeting::Connect));
            port
        });
        let ca_pem = authority.certificate_pem().to_owned();
        Ok(Hub {
            state,
            sessions,
            telemetry,
            ca_pem,
            mqtt_port,
            https_port,
            connect_port,
            tasks,
            stop,
        })
    }

    /// Where devices connect.
    #[must_use]
    pub fn mqtt_port(&self) -> u16 {
        self.mqtt_port
    }

    /// Where services connect.
    #[must_use]
    pub fn https_port(&self) -> u16 {
        self.https_port
    }

    /// Where HTTP CONNECT is taken, if anywhere.
    #[must_use]
    pub fn connect_port(&self) -> Option<u16> {
        self.connect_port
    }

    /// The certificate of the hub's authority, which clients have to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What a device of this id needs to connect; registers it if it is new.
    pub fn create_device(&self, id: &DeviceId) -> Result<DeviceConnectionString, HubError> {
        let key = match self.state.device_key(id) {
            Ok(key) => key,
            Err(_) => self.state.create_device(id)?,
        };
        Ok(DeviceConnectionString {
            host: local(self.mqtt_port),
            device: id.clone(),
            module: None,
            gateway: None,
            credential: DeviceCredential::Key(key),
        })
    }

    /// What a service needs; it may do everything.
    #[must_use]
    pub fn service_connection_string(&self) -> ServiceConnectionString {
        let key = self.state.policy_key(SERVICE_POLICY).expect("the policy is made at start");
        ServiceConnectionString {
            host: local(self.https_port),
            policy: SERVICE_POLICY.to_owned(),
            key: key.clone(),
        }
    }

    /// Drops the device's connection without a word, as a network would; says
    /// whether there was one.
    pub fn drop_connection(&self, id: &DeviceId) -> bool {
        self.sessions.end(id, Ending::Dropped)
    }

    /// What is to go wrong, and when.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.sessions.faults
    }

    /// Lets the device's connection go silent for so long: the hub neither reads
    /// nor writes and closes nothing, as when a network has lost the way. Then
    /// it drops it. Says whether there was one.
    pub fn silence_connection(&self, id: &DeviceId, lasting: Duration) -> bool {
        self.sessions.silence(id, lasting)
    }

    /// Lets the device's token expire now: the connection ends, and for a minute
    /// only a newer token is taken. Says whether there was a connection.
    pub fn expire_token(&self, id: &DeviceId) -> bool {
        self.sessions.expire_token(id)
    }

    /// Acts as if it were restarted: ends every connection, turns new ones away
    /// for so long, and is back with what it has not forgotten. The ports stay.
    pub fn restart(&self, down: Duration, forget: Forget) -> Result<(), HubError> {
        self.sessions.restart(down, || self.state.forget(forget))
    }

    /// Whether the device is connected.
    #[must_use]
    pub fn is_connected(&self, id: &DeviceId) -> bool {
        self.sessions.is_connected(id)
    }

    /// Waits until the device is connected and subscribed to methods.
    pub async fn connected(&self, id: &DeviceId) {
        self.sessions.ready(id).await;
    }

    /// Device-to-cloud messages from now on. A listener that is slow loses the
    /// oldest.
    #[must_use]
    pub fn telemetry(&self) -> broadcast::Receiver<Message> {
        self.telemetry.subscribe()
    }

    /// Closes all connections and ports, and waits until they are closed.
    pub async fn stop(self) {
        self.end();
        if tokio::time::timeout(STOP_PATIENCE, self.tasks.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        // What they had begun on threads that block ends a moment after them; until
        // then the file is in use, and another hub could not open it.
        let free = async {
            while Arc::strong_count(&self.state) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(STOP_PATIENCE, free).await.ok();
    }

    fn end(&self) {
        self.tasks.close();
        self.stop.cancel();
        self.sessions.end_all();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        self.end();
    }
}

/// For fuzzing alone: reads bytes as a session does, and gives how many packets
/// they were.
#[doc(hidden)]
#[must_use]
pub fn read_packets(bytes: &[u8]) -> usize {
    let mut buffer = bytes::BytesMut::from(bytes);
    let mut packets = 0;
    while let Ok(Some(_)) = mqtt::decode(&mut buffer) {
        packets += 1;
    }
    packets
}

fn local(port: u16) -> HostName {
    HostName::new("localhost", Some(port)).expect("`localhost` is a host name")
}

async fn bind(
    address: IpAddr,
    port: u16,
    purpose: &'static str,
) -> Result<(TcpListener, u16), StartError> {
    let address = SocketAddr::new(address, port);
    let failed = |source| StartError::Listen { address, purpose, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    Ok((listener, port))
}
