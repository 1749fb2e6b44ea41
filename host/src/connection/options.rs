//! Connection parameters: address, TLS, user name and token.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::host_name::HostName;
use protocol::sas::{SasToken, sign};
use protocol::user_name::{API_VERSION, UserName};
use rustls::ClientConfig;
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use trust::{LiveTrust, TrustError};

use crate::config::{HubSection, default_port};

/// The name and version of this client in the MQTT user name.
const CLIENT_TYPE: &str = concat!("behaviour-host/", env!("CARGO_PKG_VERSION"));

/// The environment variables for an HTTPS proxy.
const PROXIES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Connection parameters of a device. Its `Display` shows no secret.
pub(crate) struct Dial {
    identity: DeviceConnectionString,
    port: u16,
    keep_alive: Duration,
    token_lifetime: Duration,
    tls: Arc<LiveTrust>,
}

/// The reason why a device cannot connect with these settings.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A failure to load the trusted certificates.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A device id that is valid in IoT Hub, but that no topic can hold: `+` and `#`
    /// are wildcards of MQTT (3.1.1, 4.7.1), and ids are not encoded in topics.
    #[error("device id `{device}` contains `{wildcard}`, which MQTT topics cannot hold")]
    Wildcard {
        /// The id.
        device: String,
        /// The first wildcard in the id.
        wildcard: char,
    },
    /// A connection string that requires a client certificate.
    #[error("the connection string says x509=true, but this host signs in with a key or a token")]
    X509,
    /// An expired token in the connection string, with the number of seconds since it expired.
    #[error("the token of the connection string expired {0} s ago")]
    Expired(u64),
}

/// A password and its lifetime.
pub(super) struct Password {
    pub(super) token: SasToken,
    /// The time until the token expires. `None` if the token cannot be renewed.
    pub(super) lifetime: Option<Duration>,
}

/// Loads the trusted certificates for the hub. Blocks. Call it once per process, because the
/// returned value also holds the tickets that resume TLS sessions.
pub(crate) fn tls(hub: &HubSection) -> Result<Arc<LiveTrust>, OptionsError> {
    let is_set = |name: &&&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    if let Some(variable) = PROXIES.iter().find(is_set) {
        warn!(%variable, "proxy not used: the host connects directly, for itself and for plugins");
    }
    Ok(Arc::new(LiveTrust::new(hub.ca_file.as_deref())?))
}

/// Checks that a device can sign in with `identity`.
pub(crate) fn check_identity(identity: &DeviceConnectionString) -> Result<(), OptionsError> {
    let device = identity.device.to_string();
    if let Some(wildcard) = device.chars().find(|c| matches!(c, '+' | '#')) {
        return Err(OptionsError::Wildcard { device, wildcard });
    }
    match &identity.credential {
        DeviceCredential::X509 => Err(OptionsError::X509),
        DeviceCredential::Token(token) if token.expired_at(unix_now()) => {
            Err(OptionsError::Expired(unix_now() - token.expiry()))
        }
        _ => Ok(()),
    }
}

impl Dial {
    /// Checks `identity` and returns its connection parameters.
    pub(crate) fn new(
        identity: DeviceConnectionString,
        hub: &HubSection,
        tls: Arc<LiveTrust>,
    ) -> Result<Dial, OptionsError> {
        check_identity(&identity)?;
        let port = hub.port.or(address(&identity).port()).unwrap_or(default_port());
        let (keep_alive, token_lifetime) = (hub.keep_alive, hub.token_lifetime);
        Ok(Dial { identity, port, keep_alive, token_lifetime, tls })
    }

    /// Returns the identity of the device, secrets included.
    pub(crate) fn identity(&self) -> &DeviceConnectionString {
        &self.identity
    }

    /// Returns the time without a packet from the hub after which the connection counts as
    /// lost.
    pub(super) fn keep_alive(&self) -> Duration {
        self.keep_alive
    }

    /// Returns the interval of pings: half the keep-alive, and at least one second. The hub
    /// must answer each ping before the next, so its loss is noticed within the keep-alive.
    pub(super) fn ping_interval(&self) -> Duration {
        (self.keep_alive / 2).max(Duration::from_secs(1))
    }

    /// Returns the host name and port to connect to.
    pub(super) fn address(&self) -> (&str, u16) {
        (address(&self.identity).name(), self.port)
    }

    /// Returns the TLS configuration for a new connection, after reloading the certificates
    /// if they have changed.
    pub(super) async fn tls(&self) -> Arc<ClientConfig> {
        let live = Arc::clone(&self.tls);
        match spawn_blocking(move || live.refresh()).await {
            Ok(Ok(true)) => info!("trusted certificates have changed and were read again"),
            Ok(Err(error)) => {
                warn!(
                    "trusted certificates not read again, the earlier ones stay in force: {error}"
                );
            }
            // The certificates are unchanged, or reading them panicked. The panic hook has
            // logged a panic.
            Ok(Ok(false)) | Err(_) => {}
        }
        self.tls.config()
    }

    /// Returns the MQTT user name.
    pub(super) fn user_name(&self) -> UserName {
        UserName {
            host: self.identity.host.clone(),
            device: self.identity.device.clone(),
            module: self.identity.module.clone(),
            api_version: API_VERSION.to_owned(),
            client_type: Some(CLIENT_TYPE.to_owned()),
            model_id: None,
        }
    }

    /// Returns the token of the connection string, or signs a fresh one with its key.
    pub(super) fn password(&self) -> Password {
        match &self.identity.credential {
            DeviceCredential::Token(token) => Password { token: token.clone(), lifetime: None },
            DeviceCredential::Key(key) => {
                let now = since_epoch();
                let expiry = (now + self.token_lifetime).as_secs();
                let token = sign(&self.identity.resource(), None, key, expiry);
                // The expiry has whole seconds, so it is up to one second early.
                let lifetime = Duration::from_secs(expiry).saturating_sub(now);
                Password { token, lifetime: Some(lifetime) }
            }
            DeviceCredential::X509 => unreachable!("`new` rejects X.509 credentials"),
        }
    }
}

impl fmt::Display for Dial {
    /// Writes the address, such as `localhost:8883`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", address(&self.identity).name(), self.port)
    }
}

/// Returns the host to connect to: the gateway if there is one, otherwise the hub. The token
/// always names the hub.
fn address(identity: &DeviceConnectionString) -> &HostName {
    identity.gateway.as_ref().unwrap_or(&identity.host)
}

fn unix_now() -> u64 {
    since_epoch().as_secs()
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
