//! The network of a simulated device: none, the responses of a case, or real requests to
//! allowed hosts.

mod canned;
mod real;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use parking_lot::Mutex;
use plugin::{HttpClient, HttpError, HttpHost, HttpRequest};

use super::record::{Action, Record};
use canned::Canned;
pub use canned::{CannedExchange, CannedRequest, CannedResponse};

/// The network of a simulated device. A refused request is an error for the plugin.
#[derive(Clone, Default)]
pub enum Network {
    /// No network: every request is refused.
    #[default]
    None,
    /// The responses to expected requests. Each is used once.
    Canned(Vec<CannedExchange>),
    /// Real requests to these hosts. They take no virtual time.
    Real(Vec<HttpHost>),
}

/// The HTTP client of one call.
pub(super) struct SimulatedHttp {
    record: Arc<Record>,
    network: CallNetwork,
}

enum CallNetwork {
    None,
    Canned(Mutex<Canned>),
    Real(Vec<HttpHost>),
}

impl SimulatedHttp {
    pub(super) fn new(network: &Network, record: Arc<Record>) -> SimulatedHttp {
        let network = match network {
            Network::None => CallNetwork::None,
            Network::Canned(exchanges) => {
                CallNetwork::Canned(Mutex::new(Canned::new(exchanges.clone())))
            }
            Network::Real(hosts) => CallNetwork::Real(hosts.clone()),
        };
        SimulatedHttp { record, network }
    }

    /// Returns the expected requests that the plugin has not sent.
    pub(super) fn unsent(&self) -> Vec<CannedRequest> {
        match &self.network {
            CallNetwork::Canned(canned) => canned.lock().unsent(),
            CallNetwork::None | CallNetwork::Real(_) => Vec::new(),
        }
    }

    async fn exchange(&self, request: HttpRequest<'_>) -> Result<Response<Bytes>, HttpError> {
        let uri = request.request.uri().clone();
        match &self.network {
            CallNetwork::Canned(canned) => {
                let response = canned.lock().answer(&request.request)?;
                tokio::time::sleep(response.delay()).await;
                response.to_http()
            }
            CallNetwork::Real(hosts) if hosts.iter().any(|host| host.admitted(&uri).is_some()) => {
                real::send(request).await
            }
            CallNetwork::None | CallNetwork::Real(_) => Err(HttpError::Denied(format!(
                "`{uri}`: a simulated device has no network; `behaviour call --allow-http {}` sends \
                 the request, and `http` in a case has its response",
                host_option(&request.request)
            ))),
        }
    }
}

/// Returns the value of `--allow-http` that allows a request.
fn host_option(request: &Request<Bytes>) -> String {
    let authority = request.uri().authority().map_or("", |authority| authority.as_str());
    match request.uri().scheme_str() {
        Some("http") => format!("http://{authority}"),
        _ => authority.to_owned(),
    }
}

impl HttpClient for SimulatedHttp {
    fn send<'a>(
        &'a self,
        request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        Box::pin(async move {
            let method = request.request.method().to_string();
            let url = request.request.uri().to_string();
            let response = self.exchange(request).await;
            let outcome = match &response {
                Ok(response) => {
                    format!("{}, {} bytes", response.status().as_u16(), response.body().len())
                }
                Err(error) => error.to_string(),
            };
            self.record.add(Action::HttpRequest { method, url, outcome });
            response
        })
    }

    /// Counts a refusal as expected if the case has the same one, as a recorded case does.
    fn refused(&self, method: &Method, url: &Uri, error: &HttpError) {
        if let CallNetwork::Canned(canned) = &self.network {
            canned.lock().refuse(method, url, error);
        }
        let (method, url, outcome) = (method.to_string(), url.to_string(), error.to_string());
        self.record.add(Action::HttpRequest { method, url, outcome });
    }
}
