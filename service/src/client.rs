//! The client of the hub's REST API, with one function for each operation.
//!
//! Every request is signed with a new token, valid for some minutes. Requests that
//! are safe to repeat are retried; see [`Retry`]. This is the only module that
//! depends on `reqwest`.

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

/// The longest time that the hub may take to answer, except for methods.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// The time that a method's answer may take in addition to the device's own time.
const METHOD_MARGIN: Duration = Duration::from_secs(15);

/// The settings of a client.
#[derive(Clone)]
pub struct ClientSettings {
    /// A PEM file of certificates to trust, in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Certificates to trust, in addition to the system's, as PEM text.
    pub ca_pem: Option<String>,
    /// The most retries of a request that is safe to repeat.
    pub retries: u32,
    /// A callback, called before the wait for each retry.
    pub on_retry: Option<OnRetry>,
}

/// A callback for requests that are about to be retried.
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
    identity: ServiceConnectionString,
    settings: ClientSettings,
}

impl Client {
    /// Returns a client of the hub in the connection string. Sends nothing yet.
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

    /// Returns the hub's name, with its port if the connection string has one.
    #[must_use]
    pub fn hub(&self) -> String {
        self.identity.host.to_string()
    }

    /// Invokes a direct method and waits for the device's answer.
    ///
    /// A method may have effects, so it is retried only if it cannot have reached the
    /// device.
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

    /// Merges a patch into tags and desired properties:
    /// `{"tags":…,"properties":{"desired":…}}`. With an etag, only if the twin still has
    /// it. Returns the changed twin.
    pub async fn patch_twin(
        &self,
        device: &DeviceId,
        patch: Value,
        etag: Option<&str>,
    ) -> Result<Twin, ServiceError> {
        // Merging twice has the same effect as merging once, unless there is an etag.
        let again = if etag.is_some() { Resend::Undelivered } else { Resend::Always };
        let request = about(device, Method::PATCH, rest::TWIN);
        self.send(HubRequest { body: Some(patch.to_string()), etag, again, ..request })
            .await?
            .json()
    }

    /// Replaces tags and desired properties, and returns the changed twin. The
    /// arguments are those of [`Client::patch_twin`].
    pub async fn replace_twin(
        &self,
        device: &DeviceId,
        twin: Value,
        etag: Option<&str>,
    ) -> Result<Twin, ServiceError> {
        let again = if etag.is_some() { Resend::Undelivered } else { Resend::Always };
        let request = about(device, Method::PUT, rest::TWIN);
        self.send(HubRequest { body: Some(twin.to_string()), etag, again, ..request }).await?.json()
    }

    /// Returns a query over twins, in the hub's query language, to be read page by page.
    #[must_use]
    pub fn query(&self, text: &str, page_size: Option<u32>) -> TwinQuery<'_> {
        TwinQuery::new(self, text, page_size)
    }

    /// Returns the devices of the registry, at most 1000: the hub returns a single page.
    pub async fn devices(&self) -> Result<Vec<DeviceIdentity>, ServiceError> {
        let request = HubRequest::new(Method::GET, rest::DEVICES.to_owned(), "devices".to_owned());
        self.send(HubRequest { query: "&top=1000", ..request }).await?.json()
    }

    /// Returns a device of the registry, including its keys.
    pub async fn device(&self, device: &DeviceId) -> Result<DeviceIdentity, ServiceError> {
        self.send(about(device, Method::GET, rest::DEVICE)).await?.json()
    }

    /// Registers a device; the hub generates its keys.
    pub async fn create_device(&self, device: &DeviceId) -> Result<DeviceIdentity, ServiceError> {
        let body = json!(DeviceIdentity::new(device.clone())).to_string();
        let request = about(device, Method::PUT, rest::DEVICE);
        // A repeated creation would conflict with the first one.
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
