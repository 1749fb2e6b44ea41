//! A stand-in for Azure IoT Hub, for development and tests.
//!
//! [`Hub::start`] opens ports on the loopback interface. It serves MQTT 3.1.1 and MQTT 5 over TLS
//! to devices and the REST API to services, compatible with the official SDKs. [`Hub::stop`], or
//! dropping the hub, closes the ports. State is kept in memory or persisted in a folder. The hub
//! has its own certificate authority.
//!
//! ```
//! use behaviour_hub::{Hub, HubConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::start(HubConfig::default()).await?;
//! let device = hub.create_device(&"my-device".parse()?)?;
//! assert_eq!(device.host.to_string(), format!("localhost:{}", hub.mqtt_port()));
//! assert!(!hub.is_connected(&device.device));
//! hub.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! The hub is not for production: it has no quotas and no message routing.
//!
//! # Layout
//!
//! * `ca`: certificate authority and server certificate.
//! * `certificates`, `trusted`: client certificates of devices, and their authorities.
//! * `cloud_to_device`, `credentials`: messages to devices; certificates over sessions.
//! * `config`, `endpoints`: configuration and start errors; host names and their clients.
//! * `entra`, `entra_api`: the directory, which issues access tokens, and its paths over HTTPS.
//! * `events`, `explorer`: events for listeners; the page for browsers.
//! * `faults`, `fuzzing`: fault injection, and entry points for fuzzing.
//! * `configurations`, `jobs`: automatic configurations of devices; jobs on many devices.
//! * `refusal`, `stamps`: refused requests without a documented code; timestamps and tracking ids.
//! * `policy`, `profiles`: shared access policies; connection profiles of devices.
//! * `mqtt`, `mqtt5`: packets of MQTT 3.1.1 and of MQTT 5.
//! * `state`: identities, twins and subscriptions, in memory and on disk.
//! * `telemetry`: device-to-cloud messages.
//! * `query`, `twin_writes`: the query language over twins; changes whose devices are notified.
//! * `sessions`, `methods`: registries of live sessions and of direct methods in flight.
//! * `session`: a single MQTT connection.
//! * `body`, `peer`: bodies of HTTP requests; the client of a connection.
//! * `rest`, `device_api`: the REST API for services, and the HTTPS API for devices.
//! * `provisioning`, `provisioning_api`: the Device Provisioning Service, and over HTTPS.
//! * `websocket`, `listener`, `sockets`: MQTT over WebSocket; TLS and protocols; open ports.

mod body;
mod ca;
mod certificates;
mod cloud_to_device;
mod config;
mod configurations;
mod credentials;
mod device_api;
mod endpoints;
mod entra;
mod entra_api;
mod events;
mod explorer;
mod faults;
#[doc(hidden)]
pub mod fuzzing;
mod jobs;
mod listener;
mod methods;
mod mqtt;
mod mqtt5;
mod peer;
mod policy;
mod profiles;
mod provisioning;
mod provisioning_api;
mod query;
mod refusal;
mod rest;
mod session;
mod sessions;
mod sockets;
mod stamps;
mod state;
mod telemetry;
mod trusted;
mod twin_writes;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use protocol::connection_string::{DeviceConnectionString, ServiceConnectionString};
use protocol::error::HubError;
use protocol::id::{DeviceId, ModuleId};
use protocol::mqtt5::{ConnectionProfile, ReasonCode};
use tokio::sync::{Semaphore, broadcast};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use ca::CaError;
pub use config::{ExplorerAccess, HubConfig, StartError};
pub use entra::Directory;
pub use faults::{Effect, Fault, FaultError, FaultId, Faults, Forget, Refused, Step};
pub use profiles::{DeviceProfile, DeviceProfileError};
pub use protocol::mqtt5::{CustomTopic, CustomTopicError};
pub use provisioning::Provisioning;
pub use state::StateError;
pub use telemetry::TelemetryMessage;

use ca::Authority;
use credentials::Credentials;
use endpoints::{Endpoints, local};
use explorer::Explorer;
use listener::Listener;
use methods::Methods;
use policy::OWNER_POLICY;
use provisioning::ProvisioningSettings;
use provisioning_api::ProvisioningApi;
use rest::Rest;
use session::SessionContext;
use sessions::{Ending, Sessions};
use sockets::Sockets;
use state::{Owner, State};
use trusted::device_authorities;
use websocket::HubTasks;

/// Time limit for open connections to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// A running hub. Dropping it stops the hub.
pub struct Hub {
    state: Arc<State>,
    sessions: Arc<Sessions>,
    faults: Arc<Faults>,
    telemetry: broadcast::Sender<TelemetryMessage>,
    provisioning: Arc<Provisioning>,
    explorer: Arc<Explorer>,
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
        let certificate_lifetime = config.certificate_lifetime();
        let Sockets { sockets, mqtt_port, https_port, connect_port } =
            Sockets::open(&config).await?;
        let endpoints = Endpoints::of_hub(config.address, config.host_names);
        let names = endpoints.names();
        let state = State::open(config.data.as_deref(), names.clone())?;
        state.profiles().set(config.profile, config.device_profiles);
        let authority = Authority::open(config.ca_folder.as_deref().or(config.data.as_deref()))?;
        let authority = Arc::new(authority);
        let authorities = device_authorities(&config.device_ca_files, &authority)?;
        let tls = TlsAcceptor::from(Arc::new(authority.server_config(&names)?));
        let faults = Arc::<Faults>::default();
        let sessions = Sessions::new(Arc::clone(&faults), Arc::clone(state.events()));
        let sessions = Arc::new(sessions);
        let methods = Arc::new(Methods::new(Arc::clone(&sessions), Arc::clone(&faults)));
        let (telemetry, _) = broadcast::channel(telemetry::BACKLOG);
        let provisioning = Arc::new(Provisioning::new(
            Arc::clone(&state),
            Arc::clone(&sessions),
            authorities.clone(),
            Arc::clone(&authority),
            ProvisioningSettings {
                retry_after: config.provisioning_retry_after,
                certificate_lifetime,
                mqtt_port,
                https_port,
            },
        ));
        let credentials = Arc::new(Credentials::new(
            Arc::clone(&authority),
            certificate_lifetime,
            Arc::clone(&sessions),
            Arc::clone(&faults),
        ));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let api = ProvisioningApi {
            provisioning: Arc::clone(&provisioning),
            state: Arc::clone(&state),
            faults: Arc::clone(&faults),
        };
        let running = HubTasks { tasks: tasks.clone(), stop: stop.clone() };
        let parts =
            (Arc::clone(&state), Arc::clone(&sessions), Arc::clone(&methods), Arc::clone(&faults));
        let rest = Arc::new(Rest::new(parts, &tasks, &stop));
        let context = SessionContext {
            state: Arc::clone(&state),
            sessions: Arc::clone(&sessions),
            methods: Arc::clone(&methods),
            faults: Arc::clone(&faults),
            telemetry: telemetry.clone(),
            authorities,
            provisioning: Arc::clone(&provisioning),
            credentials,
            cloud_to_device: Arc::clone(&rest.cloud_to_device),
            token_grace: config.token_grace,
            custom_topics: config.custom_topics.into(),
        };
        let configurations = Arc::clone(&rest.configurations);
        tasks.spawn(configurations.serve(config.evaluate_every, stop.clone()));
        rest.jobs.resume();
        let router = rest::router(Rest::clone(&rest))
            .merge(device_api::router(context.clone()))
            .route(protocol::topic::WEBSOCKET_PATH, websocket::route(context.clone(), running))
            .layer(from_fn_with_state(api, provisioning_api::serve))
            .layer(from_fn_with_state(Arc::clone(&state), entra_api::serve));
        let explorer = Explorer::new(Arc::clone(&state), config.explorer, https_port);
        let router = explorer::over(router, &explorer);
        let listener = Listener {
            context,
            endpoints: Arc::new(endpoints),
            rest,
            router,
            tls,
            permits: Arc::new(Semaphore::new(config.max_connections)),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        for (socket, greeting) in sockets {
            tasks.spawn(listener.clone().run(socket, greeting));
        }
        Ok(Hub {
            state,
            sessions,
            faults,
            telemetry,
            provisioning,
            explorer,
            ca_pem: authority.certificate_pem().to_owned(),
            mqtt_port,
            https_port,
            connect_port,
            tasks,
            stop,
        })
    }

    /// Returns the port for devices.
    #[must_use]
    pub fn mqtt_port(&self) -> u16 {
        self.mqtt_port
    }

    /// Returns the port for services.
    #[must_use]
    pub fn https_port(&self) -> u16 {
        self.https_port
    }

    /// Returns the port for HTTP CONNECT, if there is one.
    #[must_use]
    pub fn connect_port(&self) -> Option<u16> {
        self.connect_port
    }

    /// Returns the certificate of the hub's authority in PEM, which clients have to trust.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Returns the connection string of a device. Registers the device if it is new.
    pub fn create_device(&self, id: &DeviceId) -> Result<DeviceConnectionString, HubError> {
        self.state.registered(Owner::device(id), local(self.mqtt_port))
    }

    /// Returns the connection string of a module of a device. Registers the module if it is new.
    pub fn create_module(
        &self,
        device: &DeviceId,
        module: &ModuleId,
    ) -> Result<DeviceConnectionString, HubError> {
        let owner = Owner { device: device.clone(), module: Some(module.clone()) };
        self.state.registered(owner, local(self.mqtt_port))
    }

    /// Returns the connection string of a service with all permissions.
    #[must_use]
    pub fn service_connection_string(&self) -> ServiceConnectionString {
        let key = self.state.policy_key(OWNER_POLICY).expect("every hub has this policy");
        ServiceConnectionString {
            host: local(self.https_port),
            policy: OWNER_POLICY.to_owned(),
            key: key.clone(),
        }
    }

    /// Returns a link to the explorer page that signs in once; `None` if the page is off.
    #[must_use]
    pub fn explorer_link(&self) -> Option<String> {
        self.explorer.link()
    }

    /// Returns the Device Provisioning Service of this hub.
    #[must_use]
    pub fn provisioning(&self) -> &Provisioning {
        &self.provisioning
    }

    /// Returns the directory of this hub, which takes the place of Microsoft Entra ID.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        self.state.policies().directory()
    }

    /// Sets the connection profile of a device for its next connection, as an assignment to a
    /// hub of this profile does.
    pub fn set_profile(&self, id: &DeviceId, profile: ConnectionProfile) {
        self.state.profiles().set_of(id, profile);
    }

    /// Drops the device's connection as a network failure would. Returns `true` if the device
    /// was connected.
    pub fn drop_connection(&self, id: &DeviceId) -> bool {
        self.sessions.end(&Owner::device(id), Ending::Dropped)
    }

    /// Ends the device's connection, with MQTT 5 by a DISCONNECT with this reason. Returns `true`
    /// if the device was connected.
    pub fn disconnect(&self, id: &DeviceId, reason: ReasonCode) -> bool {
        self.sessions.end(&Owner::device(id), Ending::Disconnected(reason))
    }

    /// Silences the device's connection, as if the network had lost the route: the hub
    /// neither reads nor writes for this time, then drops the connection. Returns `true`
    /// if the device was connected.
    pub fn silence_connection(&self, id: &DeviceId, lasting: Duration) -> bool {
        self.sessions.silence(&Owner::device(id), lasting)
    }

    /// Expires the device's token: the connection ends, and for a minute only a newer token
    /// is accepted. Returns `true` if the device was connected.
    pub fn expire_token(&self, id: &DeviceId) -> bool {
        self.sessions.expire_token(&Owner::device(id))
    }

    /// Simulates a restart: ends every connection, refuses new ones for `down`, and loses
    /// the state in `forget`. The ports stay open.
    pub fn restart(&self, down: Duration, forget: Forget) -> Result<(), HubError> {
        self.sessions.restart(down, forget, || self.state.forget(forget))
    }

    /// Returns the faults of this hub.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Returns `true` if the device is connected.
    #[must_use]
    pub fn is_connected(&self, id: &DeviceId) -> bool {
        self.sessions.is_connected(&Owner::device(id))
    }

    /// Waits until the device is connected and subscribed to methods.
    pub async fn connected(&self, id: &DeviceId) {
        self.sessions.ready(&Owner::device(id)).await;
    }

    /// Returns a receiver of all further device-to-cloud messages. A slow receiver loses the
    /// oldest messages.
    #[must_use]
    pub fn telemetry(&self) -> broadcast::Receiver<TelemetryMessage> {
        self.telemetry.subscribe()
    }

    /// Closes all connections and ports, and waits for them to close for a few seconds.
    pub async fn stop(self) {
        self.end();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        // A connection's blocking tasks can outlive it for a moment. Until they end, the
        // state file is in use and another hub cannot open it.
        let state_released = async {
            while Arc::strong_count(&self.state) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(STOP_TIMEOUT, state_released).await.ok();
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
