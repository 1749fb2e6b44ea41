//! The capability `http`: requests to the hosts that a plugin was granted, by
//! way of `wasi:http`.
//!
//! A request is checked here, read whole, and handed to the
//! [`HttpClient`](crate::HttpClient) that the host lends. Whatever is refused,
//! the log and the guest are told which host was asked for. What it knows of
//! HTTP is its words: no socket, no TLS.

use crate::call::log::CallLog;
use crate::call::state::CallState;
use crate::plugin::load::Loaded;
use crate::{Call, HttpClient, HttpError, HttpHost, HttpRequest, Level};
use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::component::Linker;
use wasmtime_wasi_http::p2::add_only_http_to_linker_async;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

/// What a plugin with the capability `http` may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Whom it may ask; nobody else.
    pub hosts: Vec<HttpHost>,
    /// How long one request may take, from its first byte to the last one of the
    /// response. Shorter than the deadline of a call, so that a guest can still
    /// say what has happened.
    pub timeout: Duration,
    /// The body of one request.
    pub request_bytes: usize,
    /// The body of one response.
    pub response_bytes: usize,
    /// Requests that one call may send.
    pub requests: u32,
    /// Certificates to trust beside the system's, for the client: a PEM file.
    pub ca_file: Option<PathBuf>,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            hosts: Vec::new(),
            timeout: Duration::from_secs(10),
            request_bytes: 256 * 1024,
            response_bytes: 1024 * 1024,
            requests: 20,
            ca_file: None,
        }
    }
}

pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    add_only_http_to_linker_async(linker)
}

/// The requests of one call.
pub(crate) struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    plugin: Arc<Loaded>,
    client: Arc<dyn HttpClient>,
    log: Arc<CallLog>,
    requests_left: u32,
}

impl Http {
    pub(crate) fn new(plugin: &Arc<Loaded>, call: &Call<'_>, log: &Arc<CallLog>) -> Http {
        let hooks = Hooks {
            plugin: Arc::clone(plugin),
            client: Arc::clone(&call.lent.http),
            log: Arc::clone(log),
            requests_left: plugin.http.requests,
        };
        Http { ctx: WasiHttpCtx::new(), hooks }
    }
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let http = self.http.as_mut().expect("only a plugin that was granted it is linked to it");
        let wasi = self.wasi.as_mut().expect("whoever has HTTP has the streams of WASI");
        WasiHttpCtxView { ctx: &mut http.ctx, table: wasi.table(), hooks: &mut http.hooks }
    }
}

/// What becomes of a response while it is sent on: nothing more.
type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _fut: Io,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send> {
        let may_be_private = self.admit(&request);
        let (plugin, client) = (Arc::clone(&self.plugin), Arc::clone(&self.client));
        let log = Arc::clone(&self.log);
        let limit = time_for(options, plugin.http.timeout);
        Box::new(async move {
            let host = request.uri().authority().map_or("", |authority| authority.as_str());
            let host = host.to_owned();
            let exchange = async {
                let request = whole(request, &host, plugin.http.request_bytes).await?;
                client
                    .send(HttpRequest {
                        request,
                        response_bytes: plugin.http.response_bytes,
                        may_be_private: may_be_private?,
                        ca_file: plugin.http.ca_file.as_deref(),
                    })
                    .await
            };
            let outcome = tokio::time::timeout(limit, exchange).await;
            let problem = match outcome {
                Ok(Ok(response)) => return Ok((response.map(body_of), done())),
                Ok(Err(error)) => error,
                Err(_) => HttpError::Failed(format!("`{host}` has not answered within {limit:?}")),
            };
            log.write(Level::Warn, &format!("http: {problem}"), Vec::new());
            Err(match problem {
                HttpError::NotTrusted(_) => Error::TlsCertificateError,
                // The only one of the errors of `wasi:http` that has a text.
                other => Error::InternalError(Some(other.to_string())),
            })
        })
    }
}

impl Hooks {
    /// Whether the request may be sent; if so, whether its host may be in a
    /// private network.
    fn admit(&mut self, request: &Request<WasiBody>) -> Result<bool, HttpError> {
        let uri = request.uri();
        let scheme = uri.scheme().unwrap_or(&Scheme::HTTPS);
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let found = self.plugin.http.hosts.iter().find_map(|host| host.admits(scheme, uri));
        let denied = |why: String| Err(HttpError::Denied(why));
        let Some(may_be_private) = found else {
            let plugin = &self.plugin.name;
            return denied(format!(
                "`{scheme}://{authority}` is not among the `hosts` under [plugins.{plugin}.http]"
            ));
        };
        match self.requests_left.checked_sub(1) {
            Some(left) => self.requests_left = left,
            None => return denied(format!("`{authority}`: no more requests in this call")),
        }
        Ok(may_be_private)
    }
}

/// The guest may want less time than it has.
fn time_for(options: Option<RequestOptions>, most: Duration) -> Duration {
    let RequestOptions { connect_timeout, first_byte_timeout, .. } = options.unwrap_or_default();
    first_byte_timeout.map_or(most, |wait| most.min(wait + connect_timeout.unwrap_or_default()))
}

async fn whole(
    request: Request<WasiBody>,
    host: &str,
    most_bytes: usize,
) -> Result<Request<Bytes>, HttpError> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, most_bytes).collect().await.map_err(|error| {
        HttpError::TooLarge(format!("`{host}`: a request may have {most_bytes} bytes: {error}"))
    })?;
    Ok(Request::from_parts(parts, body.to_bytes()))
}

fn body_of(bytes: Bytes) -> WasiBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn done() -> Io {
    Box::new(async { Ok(()) })
}
