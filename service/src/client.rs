//! The client of the hub's REST API, one function a call.
//!
//! Every request is signed anew, with a token that lives a few minutes. What may
//! be tried again is; see [`Retry`]. Everything that depends on `reqwest` is in
//! this room.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use protocol::connection_string::ServiceConnectionString;
use protocol::id::DeviceId;
use protocol::method::{MethodRequest, MethodResult};
use protocol::registry::DeviceIdentity;
use protocol::rest::{self, of_device};
use protocol::twin::Twin;
use reqwest::Method;
use serde_json::{Value, json};
use trust::Trust;

use crate::ServiceError;
pub use query::TwinQuery;
pub use retry::Retry;
use send::{HubRequest, Resend};

mod query;
mod retry;
mod send;

/// How long the hub may take for anything but a method.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// What a method's answer takes beside the device's own time.
const METHOD_MARGIN: Duration = Duration::from_secs(15);

/// How a client reaches its hub.
#[derive(Clone)]
pub struct ClientSettings {
    /// Certificates to trust beside the system's: a PEM file.
    pub ca_file: Option<PathBuf>,
    /// The same, as PEM text.
    pub ca_pem: Option<String>,
    /// How often a request is tried again, where that is safe.
    pub retries: u32,
    /// Told before each wait for another try.
    pub on_retry: Option<OnRetry>,
}

/// Is told of a request that will be tried again.
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

/// Calls one hub. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    identity: ServiceConnectionString,
    settings: ClientSettings,
}

impl Client {
    /// A client of the hub that the connection string names. Nothing is sent yet.
    pub fn new(
        identity: ServiceConnectionString,
        settings: ClientSettings,
    ) -> Result<Client, ServiceError> {
        let mut trust = Trust::of_system();
        if let Some(path) = &settings.ca_file {
            trust.add_file(path)?;
        }
        if let Some(pem) = &settings.ca_pem {
            trust.add_pem(pem)?;
        }
        let mut tls = trust.into_client_config()?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .https_only(true)
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .user_agent(concat!("behaviour-service/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ServiceError::NoClient(error.to_string()))?;
        Ok(Client { http, identity, settings })
    }

    /// The hub's name, with its port if the connection string has one.
    #[must_use]
    pub fn hub(&self) -> String {
        self.identity.host.to_string()
    }

    /// Invokes a direct method and waits for the device's answer.
    ///
    /// A method may change the world, so it is tried again only where it cannot
    /// have reached the device.
    pub async fn invoke(
        &self,
        device: &DeviceId,
        method: &MethodRequest,
    ) -> Result<MethodResult, ServiceError> {
        let request = HubRequest {
            body: Some(method.to_json()),
            again: Resend::Undelivered,
            wait: method.connect_timeout + method.response_timeout + METHOD_MARGIN,
            ..about(device, Method::POST, rest::METHODS)
        };
        self.send(request).await?.json()
    }

    /// Reads a device's twin.
    pub async fn twin(&self, device: &DeviceId) -> Result<Twin, ServiceError> {
        self.send(about(device, Method::GET, rest::TWIN)).await?.json()
    }

    /// Merges into tags and desired properties: `{"tags":…,"properties":{"desired":…}}`.
    /// With an etag, only if the twin still has it. Gives the twin after it.
    pub async fn patch_twin(
        &self,
        device: &DeviceId,
        patch: Value,
        etag: Option<&str>,
    ) -> Result<Twin, ServiceError> {
        // Merged twice is merged, unless an etag guards it.
        let again = if etag.is_some() { Resend::Undelivered } else { Resend::Always };
        let request = about(device, Method::PATCH, rest::TWIN);
        self.send(HubRequest { body: Some(patch), etag, again, ..request }).await?.json()
    }

    /// Replaces tags and desired properties, as [`Client::patch_twin`] merges them.
    pub async fn replace_twin(
        &self,
        device: &DeviceId,
        twin: Value,
        etag: Option<&str>,
    ) -> Result<Twin, ServiceError> {
        let again = if etag.is_some() { Resend::Undelivered } else { Resend::Always };
        let request = about(device, Method::PUT, rest::TWIN);
        self.send(HubRequest { body: Some(twin), etag, again, ..request }).await?.json()
    }

    /// A query in the hub's language over twins, to be read page by page.
    #[must_use]
    pub fn query(&self, text: &str, page_size: Option<u32>) -> TwinQuery<'_> {
        TwinQuery::new(self, text, page_size)
    }

    /// Devices of the registry, 1000 at most: the hub has no more pages of them.
    pub async fn devices(&self) -> Result<Vec<DeviceIdentity>, ServiceError> {
        let request = HubRequest::new(Method::GET, rest::DEVICES.to_owned(), "devices".to_owned());
        self.send(HubRequest { query: "&top=1000", ..request }).await?.json()
    }

    /// A device of the registry, its keys included.
    pub async fn device(&self, device: &DeviceId) -> Result<DeviceIdentity, ServiceError> {
        self.send(about(device, Method::GET, rest::DEVICE)).await?.json()
    }

    /// Registers a device, whose keys the hub makes.
    pub async fn create_device(&self, device: &DeviceId) -> Result<DeviceIdentity, ServiceError> {
        let body = json!(DeviceIdentity::new(device.clone()));
        let request = about(device, Method::PUT, rest::DEVICE);
        // Created twice is a conflict with oneself.
        let again = Resend::Undelivered;
        self.send(HubRequest { body: Some(body), again, ..request }).await?.json()
    }

    /// Removes a device and its twin.
    pub async fn delete_device(&self, device: &DeviceId) -> Result<(), ServiceError> {
        let request = about(device, Method::DELETE, rest::DEVICE);
        self.send(HubRequest { etag: Some("*"), again: Resend::Undelivered, ..request }).await?;
        Ok(())
    }
}

fn about(device: &DeviceId, method: Method, pattern: &str) -> HubRequest<'static> {
    HubRequest::new(method, of_device(pattern, device), format!("device `{device}`"))
}
