//! Connection parameters: address, TLS, user name and token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::credentials;
use protocol::host_name::HostName;
use protocol::mqtt5::{ConnectionProfile, CustomTopic};
use protocol::sas::{SasToken, sign};
use protocol::topic::Filter;
use protocol::user_name::{API_VERSION, UserName};
use rustls::ClientConfig;
use trust::LiveTrust;

use super::admission::LateAdmission;
use super::certificate::{CertificateError, DeviceCertificate, LiveCertificate, RequiredName};
use super::client::{CLIENT_TYPE, client_config, since_epoch};
use super::clock_step::ClockStep;
use super::issued::IssuedCertificate;
use super::mqtt5::{ReadyMethods, SharedMethods};
use super::options_error::{OptionsError, check_profile, check_topics};
use super::provisioning::Provisioning;
use crate::assignment::Assignment;
use crate::config::{HubSection, IdentitySection, default_port};

/// Connection parameters of a device. Its `Display` shows no secret.
pub(crate) struct Dial {
    identity: DeviceConnectionString,
    port: u16,
    keep_alive: Duration,
    token_lifetime: Duration,
    tls: Arc<LiveTrust>,
    /// The certificate of a device that signs in without a token.
    certificate: Option<Arc<LiveCertificate>>,
    /// The way in which the device was assigned to the hub; `None` for a connection string.
    provisioning: Option<Arc<Provisioning>>,
    clock_step: ClockStep,
    profile: ConnectionProfile,
    admission: Arc<LateAdmission>,
    methods: SharedMethods,
    telemetry_topic: Option<CustomTopic>,
    /// `true` if a plugin receives cloud-to-device messages.
    receives_messages: bool,
}

/// A password and its lifetime.
pub(super) struct Password {
    pub(super) token: SasToken,
    /// The time until the token expires. `None` if the token cannot be renewed.
    pub(super) lifetime: Option<Duration>,
}

/// Checks that a device can sign in with `identity` and the configured certificate, whose files
/// are not read.
pub(crate) fn check_identity(
    identity: &DeviceConnectionString,
    hub: &HubSection,
) -> Result<(), OptionsError> {
    check_topics(&identity.device)?;
    check_profile(hub.profile.unwrap_or_default(), identity, hub)?;
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

/// Reads and checks the files of a certificate and a key in a token, including the validity.
/// Without `name`, the common name is not checked. Blocks.
pub(crate) fn check_certificate(
    section: &IdentitySection,
    name: Option<&RequiredName>,
) -> Result<(), CertificateError> {
    let certificate = DeviceCertificate::read(section, name)?;
    certificate.check_time(section, Timestamp::now())?;
    certificate.check_token()
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
                let live = LiveCertificate::open(section.clone(), RequiredName::of(&identity))?;
                Some(Arc::new(live))
            }
            None => None,
        };
        Ok(Dial::with(identity, hub, tls, certificate, None))
    }

    /// Returns the connection parameters of a device that was assigned to a hub.
    pub(crate) fn assigned(
        provisioning: &Arc<Provisioning>,
        assignment: &Assignment,
    ) -> Result<Dial, OptionsError> {
        let identity = provisioning.identity(assignment)?;
        let (hub, tls) = (provisioning.hub(), Arc::clone(provisioning.tls()));
        let certificate = provisioning.certificate();
        let dial = Dial::with(identity, hub, tls, certificate, Some(Arc::clone(provisioning)));
        Ok(Dial { profile: provisioning.profile(assignment), ..dial })
    }

    /// Keeps the decision about probes of earlier connection parameters.
    pub(super) fn with_admission(self, admission: Arc<LateAdmission>) -> Dial {
        let methods = ReadyMethods::new(Arc::clone(&admission) as _);
        Dial { methods: Arc::new(Mutex::new(methods)), admission, ..self }
    }

    fn with(
        identity: DeviceConnectionString,
        hub: &HubSection,
        tls: Arc<LiveTrust>,
        certificate: Option<Arc<LiveCertificate>>,
        provisioning: Option<Arc<Provisioning>>,
    ) -> Dial {
        let admission = Arc::<LateAdmission>::default();
        let methods = ReadyMethods::new(Arc::clone(&admission) as _);
        Dial {
            port: hub.port.or(address(&identity).port()).unwrap_or(default_port()),
            identity,
            keep_alive: hub.keep_alive,
            token_lifetime: hub.token_lifetime,
            tls,
            certificate,
            provisioning,
            clock_step: ClockStep::default(),
            profile: hub.profile.unwrap_or_default(),
            methods: Arc::new(Mutex::new(methods)),
            admission,
            telemetry_topic: hub.telemetry_topic.clone(),
            receives_messages: hub.messages.is_some(),
        }
    }

    /// Returns the way in which the device was assigned to the hub; `None` for a device with a
    /// connection string.
    pub(crate) fn provisioning(&self) -> Option<&Arc<Provisioning>> {
        self.provisioning.as_ref()
    }

    /// Returns the certificate that was issued to the device, if it signs in with one.
    pub(super) fn issued(&self) -> Option<&Arc<IssuedCertificate>> {
        self.provisioning.as_ref()?.issued()
    }

    /// Returns the identity of the device, secrets included.
    pub(crate) fn identity(&self) -> &DeviceConnectionString {
        &self.identity
    }

    /// Returns the connection profile of the hub.
    pub(super) fn profile(&self) -> ConnectionProfile {
        self.profile
    }

    /// Returns the decision about probes, which is set once the device has plugins.
    pub(crate) fn admission(&self) -> Arc<LateAdmission> {
        Arc::clone(&self.admission)
    }

    /// Returns the methods for which the device is ready with the profile `mqttV5`.
    pub(super) fn methods(&self) -> SharedMethods {
        Arc::clone(&self.methods)
    }

    /// Returns the topic of telemetry, if it is not that of the profile.
    pub(super) fn telemetry_topic(&self) -> Option<String> {
        self.telemetry_topic.as_ref().map(|topic| topic.of(&self.identity.device))
    }

    /// Returns the filter of cloud-to-device messages, if a plugin receives them.
    pub(super) fn messages(&self) -> Option<Filter> {
        let device = self.identity.device.clone();
        let has_messages = self.receives_messages && self.profile == ConnectionProfile::Classic;
        has_messages.then_some(Filter::CloudToDevice { device })
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
        Some(self.certificate.as_ref()?.fresh().await)
    }

    /// Returns the TLS configuration for a new connection that presents `certificate`.
    pub(super) async fn tls(&self, certificate: Option<&DeviceCertificate>) -> Arc<ClientConfig> {
        client_config(&self.tls, certificate).await
    }

    /// Returns the MQTT user name.
    pub(super) fn user_name(&self) -> UserName {
        UserName {
            host: self.identity.host.clone(),
            device: self.identity.device.clone(),
            module: self.identity.module.clone(),
            api_version: match self.issued() {
                Some(_) => credentials::API_VERSION.to_owned(),
                None => API_VERSION.to_owned(),
            },
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
