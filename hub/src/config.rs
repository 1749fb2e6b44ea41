//! Configuration and start errors of a hub.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use protocol::mqtt5::{ConnectionProfile, CustomTopic};
use rustls::server::VerifierBuilderError;
use trust::TrustError;

use crate::ca::CaError;
use crate::profiles::DeviceProfile;
use crate::state::StateError;

/// Shortest lifetime of issued certificates, whose times are whole seconds.
const MIN_CERTIFICATE_LIFETIME: Duration = Duration::from_secs(1);

/// Addresses, names, storage and limits of a hub.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Address of all ports; 127.0.0.1 by default. The default also opens the ports on
    /// `::1` if the system supports it, since `localhost` can resolve to either.
    pub address: IpAddr,
    /// Port for devices; 0 selects a free port.
    pub mqtt_port: u16,
    /// Port for services; 0 selects a free port.
    pub https_port: u16,
    /// Port that accepts HTTP CONNECT to any host, for clients with fixed ports; 0 selects
    /// a free port, `None` disables it.
    pub connect_port: Option<u16>,
    /// Folder of the persisted state; `None` keeps the state in memory.
    pub data: Option<PathBuf>,
    /// Folder of the certificate authority; [`HubConfig::data`] by default.
    pub ca_folder: Option<PathBuf>,
    /// PEM files of the authorities that can sign the certificates of devices.
    pub device_ca_files: Vec<PathBuf>,
    /// Host names of the hub in addition to `localhost` and its address.
    pub host_names: Vec<String>,
    /// Time for which a connection outlives its token; ten minutes by default, as documented
    /// for IoT Hub.
    pub token_grace: Duration,
    /// Time between two polls of a device that registers at the Device Provisioning Service, in
    /// whole seconds; one second by default, and three in Azure.
    pub provisioning_retry_after: Duration,
    /// Lifetime of the certificates that the hub issues to devices, at least a second; 30 days
    /// by default.
    pub certificate_lifetime: Duration,
    /// Time after which configurations are evaluated again if twins have changed; one second by
    /// default, and five minutes in Azure. A changed configuration is evaluated at once.
    pub evaluate_every: Duration,
    /// The connection profile of all devices. By default, the CONNECT of a device selects MQTT
    /// 3.1.1 (`classic`) or MQTT 5 (`mqttV5`).
    pub profile: Option<ConnectionProfile>,
    /// The connection profiles of single devices. They replace that of all devices.
    pub device_profiles: Vec<DeviceProfile>,
    /// Topics to which devices of MQTT 5 can publish device-to-cloud messages, in addition to
    /// those of the profile.
    pub custom_topics: Vec<CustomTopic>,
    /// Connections on which the explorer page is served.
    pub explorer: ExplorerAccess,
    /// Maximum number of open connections.
    pub max_connections: usize,
}

/// Connections on which the explorer page is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExplorerAccess {
    /// Connections from this machine.
    #[default]
    Loopback,
    /// All connections. Users still have to sign in.
    Any,
    /// None.
    Off,
}

impl HubConfig {
    /// Returns the lifetime of the certificates that the hub issues.
    pub(crate) fn certificate_lifetime(&self) -> Duration {
        self.certificate_lifetime.max(MIN_CERTIFICATE_LIFETIME)
    }
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
            device_ca_files: Vec::new(),
            host_names: Vec::new(),
            token_grace: Duration::from_secs(600),
            provisioning_retry_after: Duration::from_secs(1),
            certificate_lifetime: Duration::from_secs(30 * 86_400),
            evaluate_every: Duration::from_secs(1),
            profile: None,
            device_profiles: Vec::new(),
            custom_topics: Vec::new(),
            explorer: ExplorerAccess::default(),
            max_connections: 50_000,
        }
    }
}

/// Error that prevents a hub from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Port that cannot be opened.
    #[error("cannot listen on {address} for {purpose}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// `MQTT`, `HTTPS` or `CONNECT`.
        purpose: &'static str,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// Persisted state that cannot be opened.
    #[error(transparent)]
    State(#[from] StateError),
    /// Unusable certificate authority.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// A file in [`HubConfig::device_ca_files`] is unusable.
    #[error(transparent)]
    DeviceCa(#[from] TrustError),
    /// The TLS library rejects the authorities of devices.
    #[error("authorities of devices")]
    DeviceAuthorities(#[from] VerifierBuilderError),
}
