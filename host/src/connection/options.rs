//! Whom to call and how: address, TLS, user name and token.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::host_name::HostName;
use protocol::sas::{SasToken, sign};
use protocol::topic::MAX_MESSAGE_BYTES;
use protocol::user_name::{API_VERSION, UserName};
use rumqttc::{MqttOptions, TlsConfiguration, Transport};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{HubSection, default_port};

/// The client's name in the user name, as hubs show it in their logs.
const CLIENT_TYPE: &str = concat!("behaviour-host/", env!("CARGO_PKG_VERSION"));

/// A topic with its properties beside the largest message.
const MAX_PACKET_BYTES: usize = MAX_MESSAGE_BYTES + 64 * 1024;

/// Answers that the hub has not yet acknowledged; more wait.
const UNACKNOWLEDGED: u16 = 512;

/// How a device reaches its hub. Does not print its secrets.
pub(crate) struct Dial {
    identity: DeviceConnectionString,
    port: u16,
    keep_alive: Duration,
    token_lifetime: Duration,
    tls: Arc<ClientConfig>,
}

/// Why a device could never reach a hub.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The file of certificates.
    #[error("CA file {}: {problem}", .path.display())]
    CaFile {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Neither the system nor the configuration has a certificate to trust.
    #[error("there is no certificate to trust: the system has none, and no CA file is set")]
    NoRoots,
    /// The connection string asks for a client certificate.
    #[error("the connection string says x509=true, but this host signs in with a key or a token")]
    X509,
    /// The token in the connection string has expired.
    #[error("the token of the connection string has expired {0} s ago")]
    Expired(u64),
}

/// A password, and for how long it is good.
pub(super) struct Password {
    pub(super) token: SasToken,
    /// `None`: it cannot be renewed.
    pub(super) lifetime: Option<Duration>,
}

impl Dial {
    pub(crate) fn new(
        identity: DeviceConnectionString,
        hub: &HubSection,
    ) -> Result<Dial, OptionsError> {
        match &identity.credential {
            DeviceCredential::X509 => return Err(OptionsError::X509),
            DeviceCredential::Token(token) if token.expired_at(unix_now()) => {
                return Err(OptionsError::Expired(unix_now() - token.expiry()));
            }
            _ => {}
        }
        let port = hub.port.or(address(&identity).port()).unwrap_or(default_port());
        let tls = Arc::new(tls(hub.ca_file.as_ref())?);
        let (keep_alive, token_lifetime) = (hub.keep_alive, hub.token_lifetime);
        Ok(Dial { identity, port, keep_alive, token_lifetime, tls })
    }

    /// Everything but the password.
    pub(super) fn mqtt_options(&self) -> MqttOptions {
        let name = self.user_name();
        let mut options =
            MqttOptions::new(name.client_id(), address(&self.identity).name(), self.port);
        options
            .set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(self.tls.clone())))
            .set_keep_alive(self.keep_alive)
            .set_clean_session(false)
            .set_inflight(UNACKNOWLEDGED)
            .set_max_packet_size(MAX_PACKET_BYTES, MAX_PACKET_BYTES);
        options
    }

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

    pub(super) fn password(&self) -> Password {
        match &self.identity.credential {
            DeviceCredential::Token(token) => Password { token: token.clone(), lifetime: None },
            DeviceCredential::Key(key) => {
                let expiry = unix_now() + self.token_lifetime.as_secs();
                let token = sign(&self.identity.resource(), None, key, expiry);
                Password { token, lifetime: Some(self.token_lifetime) }
            }
            DeviceCredential::X509 => unreachable!("`new` has refused it"),
        }
    }
}

impl fmt::Display for Dial {
    /// Where it leads to, `localhost:8883`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", address(&self.identity).name(), self.port)
    }
}

/// A gateway takes the connection where there is one; the token names the hub.
fn address(identity: &DeviceConnectionString) -> &HostName {
    identity.gateway.as_ref().unwrap_or(&identity.host)
}

pub(super) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn tls(ca_file: Option<&PathBuf>) -> Result<ClientConfig, OptionsError> {
    let mut roots = RootCertStore::empty();
    // A system without certificates is no trouble to who brings their own.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca_file {
        let wrong = |problem: String| OptionsError::CaFile { path: path.clone(), problem };
        let file = CertificateDer::pem_file_iter(path).map_err(|e| wrong(pem_problem(&e)))?;
        let certificates =
            file.collect::<Result<Vec<_>, _>>().map_err(|e| wrong(pem_problem(&e)))?;
        if certificates.is_empty() {
            return Err(wrong("has no certificate in it".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        return Err(OptionsError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has suites for the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn pem_problem(error: &rustls::pki_types::pem::Error) -> String {
    match error {
        rustls::pki_types::pem::Error::Io(error) => error.to_string(),
        _ => "is not a PEM file of certificates".to_owned(),
    }
}
