//! Client of the hub's REST API, with one method for each operation.
//!
//! Every request carries a new SAS token, valid for 15 minutes, or an access token of Microsoft
//! Entra ID. Requests that are safe to repeat are retried; see [`Retry`]. This is the only module
//! that depends on `reqwest`.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::connection_string::ServiceConnectionString;
use protocol::host_name::HostName;
use protocol::id::DeviceId;
use protocol::method::{MethodRequest, MethodResult};
use protocol::registry::DeviceIdentity;
use protocol::rest::{self, of_device};
use protocol::target::Target;
use protocol::twin::Twin;
use reqwest::Method;
use serde_json::{Value, json};
use trust::Trust;

use crate::{EntraSignIn, ServiceError};
pub use cloud_to_device::Feedback;
use entra::EntraTokens;
pub use messages::{MessageEvent, Messages};
pub use provisioning::ProvisioningClient;
pub use query::TwinQuery;
pub use retry::Retry;
use send::{HubRequest, Resend};

mod cause;
mod cloud_to_device;
mod configurations;
mod entra;
mod jobs;
mod messages;
mod provisioning;
mod query;
mod rest_api;
mod retry;
mod send;

/// Timeout of all requests except method calls.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Time that a method call may take in addition to the timeouts of the device.
const METHOD_MARGIN: Duration = Duration::from_secs(15);

/// The settings of a client.
#[derive(Clone)]
pub struct ClientSettings {
    /// A PEM file of certificates to trust, in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificates to trust, in addition to the system's, in PEM format.
    pub ca_pem: Option<String>,
    /// Maximum number of retries of a request that is safe to repeat.
    pub retries: u32,
    /// A callback that is called before each retry's delay.
    pub on_retry: Option<OnRetry>,
}

/// A callback that is notified of retries.
pub type OnRetry = Arc<dyn Fn(&Retry<'_>) + Send + Sync>;

impl Default for ClientSettings {
    fn default() -> ClientSettings {
        ClientSettings { ca_file: None, ca_pem: None, retries: 3, on_retry: None }
    }
}

impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ClientSettings { ca_file, ca_pem: _, retries, on_retry: _ } = self;
        f.debug_struct("ClientSettings")
            .field("ca_file", ca_file)
            .field("retries", retries)
            .finish_non_exhaustive()
    }
}

/// A client of one hub. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    host: HostName,
    credential: ClientCredential,
    settings: ClientSettings,
}

/// The proof that a client may use a hub.
#[derive(Debug, Clone)]
enum ClientCredential {
    /// The key of a policy.
    Policy(ServiceConnectionString),
    Entra(Arc<EntraTokens>),
}

impl Client {
    /// Creates a client of the hub in the connection string, without connecting to it.
    pub fn new(
        identity: ServiceConnectionString,
        settings: ClientSettings,
    ) -> Result<Client, ServiceError> {
        let http = https(&settings)?;
        let host = identity.host.clone();
        Ok(Client { http, host, credential: ClientCredential::Policy(identity), settings })
    }

    /// Creates a client of a hub that signs in by Microsoft Entra ID, without connecting to
    /// either of them. The credential is read from the environment; see [`EntraSignIn`].
    pub fn with_entra(
        host: HostName,
        sign_in: EntraSignIn,
        settings: ClientSettings,
    ) -> Result<Client, ServiceError> {
        let http = https(&settings)?;
        let tokens = EntraTokens::new(sign_in, http.clone())?;
        Ok(Client { http, host, credential: ClientCredential::Entra(Arc::new(tokens)), settings })
    }

    /// Returns the hub's host name, with the port if it has one.
    #[must_use]
    pub fn hub(&self) -> String {
        self.host.to_string()
    }

    /// Invokes a direct method of a device or module, and waits for the answer.
    ///
    /// Methods can have side effects, so a call is retried only if it cannot have reached
    /// the device.
    pub async fn invoke(
        &self,
        target: impl Into<Target>,
        method: &MethodRequest,
    ) -> Result<MethodResult, ServiceError> {
        let request = HubRequest {
            body: Some(method.to_json()),
            resend: Resend::IfUndelivered,
            timeout: method.connect_timeout + method.response_timeout + METHOD_MARGIN,
            ..target_request(&target.into(), Method::POST, (rest::METHODS, rest::MODULE_METHODS))
        };
        self.send(request).await?.json()
    }

    /// Reads the twin of a device or module.
    pub async fn twin(&self, target: impl Into<Target>) -> Result<Twin, ServiceError> {
        self.send(target_request(&target.into(), Method::GET, TWINS)).await?.json()
    }

    /// Merges a patch into the tags and desired properties of a twin, and returns the
    /// changed twin. The patch has the form `{"tags":…,"properties":{"desired":…}}`.
    ///
    /// Fails if `etag` is given and the twin has changed since.
    pub async fn patch_twin(
        &self,
        target: impl Into<Target>,
        patch: Value,
        etag: Option<&str>,
    ) -> Result<Twin, ServiceError> {
        // Merging is idempotent, but the first merge changes the etag.
        let resend = if etag.is_some() { Resend::IfUndelivered } else { Resend::Always };
        let request = target_request(&target.into(), Method::PATCH, TWINS);
        self.send(HubRequest { body: Some(patch.to_string()), etag, resend, ..request })
            .await?
            .json()
    }

    /// Replaces the tags and desired properties of a twin, and returns the changed twin.
    /// The arguments have the same form as in [`Client::patch_twin`].
    pub async fn replace_twin(
        &self,
        target: impl Into<Target>,
        twin: Value,
        etag: Option<&str>,
    ) -> Result<Twin, ServiceError> {
        let resend = if etag.is_some() { Resend::IfUndelivered } else { Resend::Always };
        let request = target_request(&target.into(), Method::PUT, TWINS);
        self.send(HubRequest { body: Some(twin.to_string()), etag, resend, ..request })
            .await?
            .json()
    }

    /// Creates a query over twins, in the hub's query language. The results are read page
    /// by page.
    #[must_use]
    pub fn query(&self, text: &str, page_size: Option<u32>) -> TwinQuery<'_> {
        TwinQuery::new(self, text, page_size)
    }

    /// Returns the devices of the registry. The hub returns no more than 1000.
    pub async fn devices(&self) -> Result<Vec<DeviceIdentity>, ServiceError> {
        let request = HubRequest::new(Method::GET, rest::DEVICES.to_owned(), "devices".to_owned());
        self.send(HubRequest { query: "&top=1000", ..request }).await?.json()
    }

    /// Returns a device of the registry with its keys.
    pub async fn device(&self, device: &DeviceId) -> Result<DeviceIdentity, ServiceError> {
        self.send(device_request(device, Method::GET, rest::DEVICE)).await?.json()
    }

    /// Registers a device. The hub generates its keys.
    pub async fn create_device(&self, device: &DeviceId) -> Result<DeviceIdentity, ServiceError> {
        self.create_identity(&DeviceIdentity::new(device.clone())).await
    }

    /// Registers a device with these credentials. The hub generates missing keys.
    pub async fn create_identity(
        &self,
        identity: &DeviceIdentity,
    ) -> Result<DeviceIdentity, ServiceError> {
        let body = json!(identity).to_string();
        let request = device_request(&identity.device_id, Method::PUT, rest::DEVICE);
        // Creating the device twice would return a conflict.
        let resend = Resend::IfUndelivered;
        self.send(HubRequest { body: Some(body), resend, ..request }).await?.json()
    }

    /// Replaces the status and the credentials of a device, whatever its version.
    pub async fn update_identity(
        &self,
        identity: &DeviceIdentity,
    ) -> Result<DeviceIdentity, ServiceError> {
        let request = device_request(&identity.device_id, Method::PUT, rest::DEVICE);
        let body = Some(json!(identity).to_string());
        self.send(HubRequest { body, etag: Some("*"), resend: Resend::Always, ..request })
            .await?
            .json()
    }

    /// Removes a device and its twin.
    pub async fn delete_device(&self, device: &DeviceId) -> Result<(), ServiceError> {
        let request = device_request(device, Method::DELETE, rest::DEVICE);
        self.send(HubRequest { etag: Some("*"), resend: Resend::IfUndelivered, ..request }).await?;
        Ok(())
    }
}

fn https(settings: &ClientSettings) -> Result<reqwest::Client, ServiceError> {
    let mut trust = Trust::of_system();
    if let Some(path) = &settings.ca_file {
        trust.add_file(path)?;
    }
    if let Some(pem) = &settings.ca_pem {
        trust.add_pem(pem)?;
    }
    let mut tls = trust.into_client_config()?;
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .connect_timeout(Duration::from_secs(10))
        .tcp_nodelay(true)
        .user_agent(concat!("behaviour-service/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| ServiceError::NoClient(error.to_string()))
}

/// Paths of the twins of devices and of modules.
const TWINS: (&str, &str) = (rest::TWIN, rest::MODULE_TWIN);

/// Returns a request with the path of a device or of a module.
fn target_request(
    target: &Target,
    method: Method,
    (device, module): (&str, &str),
) -> HubRequest<'static> {
    let subject = match target.module {
        None => format!("device `{target}`"),
        Some(_) => format!("module `{target}`"),
    };
    HubRequest::new(method, target.path(device, module), subject)
}

fn device_request(device: &DeviceId, method: Method, pattern: &str) -> HubRequest<'static> {
    HubRequest::new(method, of_device(pattern, device), format!("device `{device}`"))
}
