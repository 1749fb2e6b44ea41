//! Connection parameters: address, TLS, user name and token.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::host_name::HostName;
use protocol::sas::{SasToken, sign};
use protocol::user_name::{API_VERSION, UserName};
use rustls::ClientConfig;
use tokio::task::spawn_blocking;
use tracing::{info, warn};
use trust::{LiveTrust, TrustError};

use super::certificate::{CertificateError, DeviceCertificate, LiveCertificate};
use super::clock_step::ClockStep;
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
    /// The certificate of a device that signs in without a token.
    certificate: Option<Arc<LiveCertificate>>,
    clock_step: ClockStep,
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
    /// A connection string that requires a certificate, without one in the configuration.
    #[error("the connection string says x509=true, but [hub.identity] names no certificate")]
    NoCertificate,
    /// A configured certificate and a key or token in the connection string.
    #[error("[hub.identity] names a certificate, but the connection string has a key or a token")]
    TwoCredentials,
    /// A certificate that cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
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

/// Checks that a device can sign in with `identity` and the configured certificate, whose files
/// are not read.
pub(crate) fn check_identity(
    identity: &DeviceConnectionString,
    hub: &HubSection,
) -> Result<(), OptionsError> {
    let device = identity.device.to_string();
    if let Some(wildcard) = device.chars().find(|c| matches!(c, '+' | '#')) {
        return Err(OptionsError::Wildcard { device, wildcard });
    }
    match &identity.credential {
        DeviceCredential::X509 if hub.identity.is_none() => Err(OptionsError::NoCertificate),
        DeviceCredential::X509 => Ok(()),
        _ if hub.identity.is_some() => Err(OptionsError::TwoCredentials),
        DeviceCredential::Token(token) if token.expired_at(unix_now()) => {
            Err(OptionsError::Expired(unix_now() - token.expiry()))
        }
        _ => Ok(()),
    }
}

/// Reads and checks the files of the configured certificate, including its validity. Without an
/// identity, the name is not checked. Blocks.
pub(crate) fn check_certificate(
    hub: &HubSection,
    identity: Option<&DeviceConnectionString>,
) -> Result<(), CertificateError> {
    let Some(section) = &hub.identity else { return Ok(()) };
    let name = identity.map(common_name);
    let certificate = DeviceCertificate::read(section, name.as_deref())?;
    certificate.check_time(section, Timestamp::now())
}

/// Returns the common name that the certificate of a device or a module must have.
fn common_name(identity: &DeviceConnectionString) -> String {
    match &identity.module {
        None => identity.device.to_string(),
        Some(module) => format!("{}/{module}", identity.device),
    }
}

impl Dial {
    /// Checks `identity`, reads its certificate, and returns the connection parameters.
    pub(crate) fn new(
        identity: DeviceConnectionString,
        hub: &HubSection,
        tls: Arc<LiveTrust>,
    ) -> Result<Dial, OptionsError> {
        check_identity(&identity, hub)?;
        let certificate = match &hub.identity {
            Some(section) => {
                let live = LiveCertificate::open(section.clone(), common_name(&identity))?;
                Some(Arc::new(live))
            }
            None => None,
        };
        let port = hub.port.or(address(&identity).port()).unwrap_or(default_port());
        let (keep_alive, token_lifetime) = (hub.keep_alive, hub.token_lifetime);
        let clock_step = ClockStep::default();
        Ok(Dial { identity, port, keep_alive, token_lifetime, tls, certificate, clock_step })
    }

    /// Returns the identity of the device, secrets included.
    pub(crate) fn identity(&self) -> &DeviceConnectionString {
        &self.identity
    }

    /// Returns the record of the clocks at the last connection.
    pub(super) fn clock_step(&self) -> &ClockStep {
        &self.clock_step
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

    /// Returns the certificate that the device signs in with, if it has one.
    pub(crate) fn certificate(&self) -> Option<&Arc<LiveCertificate>> {
        self.certificate.as_ref()
    }

    /// Returns the certificate for a new connection, after reloading it if it has changed.
    pub(super) async fn fresh_certificate(&self) -> Option<Arc<DeviceCertificate>> {
        let live = self.certificate.as_ref()?;
        live.refresh().await;
        Some(live.current())
    }

    /// Returns the TLS configuration for a new connection that presents `certificate`, after
    /// reloading the trusted certificates if they have changed.
    pub(super) async fn tls(&self, certificate: Option<&DeviceCertificate>) -> Arc<ClientConfig> {
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
        let config = self.tls.config();
        let Some(certificate) = certificate else { return config };
        // Sessions are resumed only with the same resolver, so never with an older certificate.
        let mut config = ClientConfig::clone(&config);
        config.client_auth_cert_resolver = Arc::clone(&certificate.resolver);
        Arc::new(config)
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

    /// Returns the token of the connection string, or signs a fresh one with its key. Returns
    /// `None` for a device with a certificate, which has no password.
    pub(super) fn password(&self) -> Option<Password> {
        Some(match &self.identity.credential {
            DeviceCredential::Token(token) => Password { token: token.clone(), lifetime: None },
            DeviceCredential::Key(key) => {
                let now = since_epoch();
                let expiry = (now + self.token_lifetime).as_secs();
                let token = sign(&self.identity.resource(), None, key, expiry);
                // The expiry has whole seconds, so it is up to one second early.
                let lifetime = Duration::from_secs(expiry).saturating_sub(now);
                Password { token, lifetime: Some(lifetime) }
            }
            DeviceCredential::X509 => return None,
        })
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
