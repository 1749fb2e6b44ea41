//! Client of OCI registries (distribution specification).
//!
//! Reads from mirrors first and then from the registry itself. Each answer is bounded before
//! and while it is read, each wait has a limit, and a blob continues where it stopped.
//! Credentials go only to the registry and to the token server that it names, never to the
//! target of a redirect. This is the only module that depends on `reqwest`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use trust::{Trust, TrustError};

use crate::source::{OnProgress, Received, Source, SourceError};
use crate::{Descriptor, Digest, Reference, credentials};
use auth::Authorizations;
use blob::Pace;
use endpoint::Endpoint;

mod auth;
mod blob;
mod challenge;
mod document;
mod endpoint;
mod exchange;
mod push;
mod referrers;
mod retry;
mod rights;

pub use challenge::{Challenge, challenges};
pub use endpoint::EndpointError;

/// A server with the content of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The host and port of the registry, as in references.
    pub registry: String,
    /// The URL of the mirror, such as `https://mirror.example:5000`.
    pub url: String,
}

/// The settings of a client.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The mirrors, in the order of their use. The registry itself comes last.
    pub mirrors: Vec<Mirror>,
    /// The hosts, with their ports as in references, that are used without TLS.
    pub plain_http: Vec<String>,
    /// A PEM file of certificates to trust, in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// The credentials.
    pub credentials: Option<credentials::Store>,
    /// The maximum size of a blob that is written to a file, in bytes.
    pub max_blob_bytes: u64,
    /// The maximum rate of all blobs together, in bytes per second.
    pub bandwidth: Option<u64>,
    /// The time limit of a connection attempt and of each wait for bytes.
    pub timeout: Duration,
    /// The maximum number of retries without progress.
    pub retries: u32,
    /// The maximum `Retry-After` that is waited for. A longer one ends the request with
    /// [`SourceError::Busy`].
    pub max_retry_after: Duration,
}

impl Default for ClientSettings {
    fn default() -> ClientSettings {
        ClientSettings {
            mirrors: Vec::new(),
            plain_http: Vec::new(),
            ca_file: None,
            credentials: None,
            max_blob_bytes: 64 * 1024 * 1024,
            bandwidth: None,
            timeout: Duration::from_secs(30),
            retries: 4,
            max_retry_after: Duration::from_secs(60),
        }
    }
}

/// Error of creating a client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Unusable certificates.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// An unusable URL of a mirror.
    #[error(transparent)]
    Mirror(#[from] EndpointError),
    /// An HTTP client that cannot be created.
    #[error("the HTTP client cannot be created")]
    Http(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A client of registries. Clones share connections, tokens and the bandwidth.
#[derive(Clone)]
pub struct Client {
    shared: Arc<ClientParts>,
}

struct ClientParts {
    http: reqwest::Client,
    settings: ClientSettings,
    mirrors: HashMap<String, Vec<Endpoint>>,
    authorizations: Mutex<Authorizations>,
    pace: Pace,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl Client {
    /// Creates a client. Reads the certificates, which blocks.
    pub fn new(settings: ClientSettings) -> Result<Client, ClientError> {
        let mut trust = Trust::of_system();
        if let Some(file) = &settings.ca_file {
            trust.add_file(file)?;
        }
        let mut tls = trust.into_optional_client_config();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(settings.timeout)
            .read_timeout(settings.timeout)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .user_agent(concat!("behaviour/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ClientError::Http(error.into()))?;
        let mut mirrors: HashMap<String, Vec<Endpoint>> = HashMap::new();
        for mirror in &settings.mirrors {
            let endpoint = Endpoint::parse(&mirror.url)?;
            mirrors.entry(mirror.registry.clone()).or_default().push(endpoint);
        }
        let pace = Pace::new(settings.bandwidth);
        let authorizations = Mutex::default();
        let shared = ClientParts { http, settings, mirrors, authorizations, pace };
        Ok(Client { shared: Arc::new(shared) })
    }

    /// Returns the servers with the content of a registry, the mirrors first.
    fn endpoints(&self, image: &Reference) -> Vec<Endpoint> {
        let registry = image.registry();
        let mut endpoints = self.shared.mirrors.get(registry).cloned().unwrap_or_default();
        endpoints.push(self.origin(image));
        endpoints
    }

    /// Returns the registry itself.
    fn origin(&self, image: &Reference) -> Endpoint {
        let registry = image.registry();
        let is_plain = self.shared.settings.plain_http.iter().any(|plain| plain == registry);
        Endpoint::of_registry(registry, is_plain)
    }

    /// Returns the maximum number of retries. A mirror has none: the next server is asked instead.
    fn retries(&self, endpoint: &Endpoint) -> u32 {
        if endpoint.is_mirror { 0 } else { self.shared.settings.retries }
    }

    /// Tries a request at each server, until one answers. Returns the error of the last one, with
    /// the reasons of the mirrors.
    async fn at_each<T, F>(
        &self,
        image: &Reference,
        request: impl Fn(Endpoint) -> F + Send,
    ) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, SourceError>> + Send,
    {
        let mut endpoints = self.endpoints(image).into_iter();
        let mut endpoint = endpoints.next().expect("the registry itself is an endpoint");
        let mut mirrors = Vec::new();
        loop {
            let name = endpoint.name.clone();
            match (request(endpoint).await, endpoints.next()) {
                (Err(error), Some(next)) if !error.is_local() => {
                    mirrors.push(error.of_mirror(&name));
                    endpoint = next;
                }
                (result, _) => return result.map_err(|error| error.after_mirrors(mirrors)),
            }
        }
    }
}

impl Source for Client {
    async fn document(&self, image: &Reference) -> Result<Received, SourceError> {
        self.at_each(image, |endpoint| document::fetch(self, endpoint, image)).await
    }

    async fn blob(
        &self,
        image: &Reference,
        blob: &Descriptor,
        max_bytes: usize,
    ) -> Result<Vec<u8>, SourceError> {
        self.at_each(image, |endpoint| blob::fetch(self, endpoint, image, blob, max_bytes)).await
    }

    async fn blob_to_file(
        &self,
        image: &Reference,
        blob: &Descriptor,
        file: &Path,
        progress: OnProgress<'_>,
    ) -> Result<(), SourceError> {
        let download = |endpoint| blob::download(self, endpoint, image, blob, file, progress);
        self.at_each(image, download).await
    }

    async fn referrers(
        &self,
        image: &Reference,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, SourceError> {
        self.at_each(image, |endpoint| referrers::list(self, endpoint, image, *subject)).await
    }
}
