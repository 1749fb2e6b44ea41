//! The capability `http`: requests to the hosts that a plugin was granted, through
//! `wasi:http`.
//!
//! A request is checked here, read whole, and handed to the
//! [`HttpClient`](crate::HttpClient) that the host lends. A refusal is logged, and
//! returned to the guest, with the host that was asked for. This module knows HTTP's
//! types only: no socket, no TLS.

use super::log::CallLog;
use crate::about::About;
use crate::budget::{Budget, Loan};
use crate::{Call, HttpClient, HttpError, HttpRequest, Level};
use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
};

/// Limit of the header fields of one request or response; the default of
/// wasmtime-wasi-http is 128 KiB. A guest may hold as many as it has resources.
const FIELD_BYTES: usize = 16 * 1024;

/// Size of the pieces of a request's body, two of which the host holds for each
/// request that is being written; the default is 1 MiB.
const CHUNK_BYTES: usize = 16 * 1024;

/// Memory of the host for one resource of a call: its fields, or its share of the
/// pieces of a body, which takes three resources to write.
pub(crate) const RESOURCE_BYTES: usize = FIELD_BYTES;

/// Requests at once of one call, and of all calls of a plugin: each takes a descriptor
/// of the process. Further ones wait, within their time.
const AT_ONCE_OF_CALL: usize = 4;
pub(crate) const AT_ONCE_OF_PLUGIN: usize = 32;

/// The requests of one call.
pub(crate) struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    plugin: Arc<About>,
    client: Arc<dyn HttpClient>,
    log: Arc<CallLog>,
    budget: Arc<Budget>,
    requests_left: u32,
    places: Arc<Semaphore>,
}

/// A body with its part of the budget, which is free again when no one reads it.
struct Held {
    bytes: Bytes,
    _loan: Loan,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Http {
    pub(crate) fn new(
        plugin: &Arc<About>,
        call: &Call<'_>,
        log: &Arc<CallLog>,
        budget: &Arc<Budget>,
    ) -> Http {
        let hooks = Hooks {
            plugin: Arc::clone(plugin),
            client: Arc::clone(&call.lent.http),
            log: Arc::clone(log),
            budget: Arc::clone(budget),
            requests_left: plugin.http.requests,
            places: Arc::new(Semaphore::new(AT_ONCE_OF_CALL)),
        };
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(FIELD_BYTES);
        Http { ctx, hooks }
    }

    pub(crate) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { ctx: &mut self.ctx, table, hooks: &mut self.hooks }
    }
}

/// The work left to do while a response is passed on: none.
type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _fut: Io,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send> {
        let may_be_private = self.admit(&request);
        let (plugin, client) = (Arc::clone(&self.plugin), Arc::clone(&self.client));
        let (log, budget) = (Arc::clone(&self.log), Arc::clone(&self.budget));
        let places = Arc::clone(&self.places);
        let limit = time_for(options, plugin.http.timeout);
        Box::new(async move {
            let host = request.uri().authority().map_or("", |authority| authority.as_str());
            let host = host.to_owned();
            let exchange = async {
                let may_be_private = may_be_private?;
                let settings = &plugin.http;
                let closed = |_| HttpError::Failed("the host is stopping".to_owned());
                let _of_call = places.acquire().await.map_err(closed)?;
                let _of_plugin = plugin.http_places.acquire().await.map_err(closed)?;
                let both_bytes = settings.request_bytes.saturating_add(settings.response_bytes);
                let mut loan = Loan::new(&budget, both_bytes)
                    .map_err(|lack| HttpError::Failed(format!("`{host}`: {lack}")))?;
                let request = whole(request, &host, settings.request_bytes).await?;
                let response = client
                    .send(HttpRequest {
                        request,
                        response_bytes: settings.response_bytes,
                        may_be_private,
                        ca_file: settings.ca_file.as_deref(),
                    })
                    .await?;
                loan.shrink_to(response.body().len());
                Ok(response.map(|bytes| Bytes::from_owner(Held { bytes, _loan: loan })))
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
    /// Returns `Ok` if the request may be sent: `true` if its host may be in a private
    /// network.
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
