//! HTTP requests of one call: the capability `http`, through `wasi:http`.
//!
//! Each request is checked, read completely, and passed to the host's
//! [`HttpClient`](crate::HttpClient). A refused request is logged and reported to the
//! guest, with the name of the requested host. This module uses HTTP types only and opens
//! no connections.

use super::log::CallLog;
use crate::about::About;
use crate::budget::{Budget, Reservation};
use crate::{Call, HttpClient, HttpError, HttpRequest, Level};
use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
};

/// Maximum size of the header fields of a request or response. A guest can hold as many
/// sets of fields as it has resources; the default of wasmtime-wasi-http is 128 KiB for
/// each.
const FIELD_BYTES: usize = 16 * 1024;

/// Size of the chunks of a request's body. The host holds two chunks for each request that
/// is being written; the default is 1 MiB.
const CHUNK_BYTES: usize = 16 * 1024;

/// Host memory for one resource of a call: a set of header fields, or a share of a body's
/// chunks. Writing a body takes three resources.
pub(crate) const RESOURCE_BYTES: usize = FIELD_BYTES;

/// Maximum number of concurrent requests of one call. Each takes a file descriptor; further
/// requests wait within their timeout.
const AT_ONCE_OF_CALL: usize = 4;
/// Maximum number of concurrent requests of all calls of a plugin.
pub(crate) const AT_ONCE_OF_PLUGIN: usize = 32;

/// HTTP state of one call.
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
    slots: Arc<Semaphore>,
}

/// A response body, which returns its share of the budget when it is dropped.
struct BudgetedBody {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for BudgetedBody {
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
            slots: Arc::new(Semaphore::new(AT_ONCE_OF_CALL)),
        };
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(FIELD_BYTES);
        Http { ctx, hooks }
    }

    pub(crate) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { ctx: &mut self.ctx, table, hooks: &mut self.hooks }
    }
}

/// Background work of a response, which is empty because the body is already read.
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
        let slots = Arc::clone(&self.slots);
        let limit = timeout(options, plugin.http.timeout);
        Box::new(async move {
            let host = request.uri().authority().map_or("", |authority| authority.as_str());
            let host = host.to_owned();
            let exchange = async {
                let may_be_private = may_be_private?;
                let settings = &plugin.http;
                let closed = |_| HttpError::Failed("the host is stopping".to_owned());
                let _of_call = slots.acquire().await.map_err(closed)?;
                let _of_plugin = plugin.http_slots.acquire().await.map_err(closed)?;
                let both_bytes = settings.request_bytes.saturating_add(settings.response_bytes);
                let mut reservation = Reservation::new(&budget, both_bytes)
                    .map_err(|error| HttpError::Failed(format!("`{host}`: {error}")))?;
                let request = read_body(request, &host, settings.request_bytes).await?;
                let response = client
                    .send(HttpRequest {
                        request,
                        response_bytes: settings.response_bytes,
                        may_be_private,
                        ca_file: settings.ca_file.as_deref(),
                    })
                    .await?;
                reservation.shrink_to(response.body().len());
                Ok(response.map(|bytes| {
                    Bytes::from_owner(BudgetedBody { bytes, _reservation: reservation })
                }))
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
                // The only error of `wasi:http` that carries a message.
                other => Error::InternalError(Some(other.to_string())),
            })
        })
    }
}

impl Hooks {
    /// Checks that the request is allowed. Returns `true` if its host can be in a private
    /// network.
    fn admit(&mut self, request: &Request<WasiBody>) -> Result<bool, HttpError> {
        let uri = request.uri();
        let scheme = uri.scheme().unwrap_or(&Scheme::HTTPS);
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let found = self.plugin.http.hosts.iter().find_map(|host| host.admits(scheme, uri));
        let deny = |reason: String| Err(HttpError::Denied(reason));
        let Some(may_be_private) = found else {
            let plugin = &self.plugin.name;
            let hosts = &self.plugin.http.hosts;
            let only_https = *scheme == Scheme::HTTP
                && hosts.iter().any(|host| host.admits(&Scheme::HTTPS, uri).is_some());
            let hint = match only_https {
                true => ", where a host without `http://` means HTTPS only",
                false => "",
            };
            return deny(format!(
                "`{scheme}://{authority}` is not among the `hosts` under \
                 [plugins.{plugin}.http]{hint}"
            ));
        };
        match self.requests_left.checked_sub(1) {
            Some(left) => self.requests_left = left,
            None => return deny(format!("`{authority}`: limit of requests in one call reached")),
        }
        Ok(may_be_private)
    }
}

/// Returns the timeout of a request: the guest's own, but at most `max`.
fn timeout(options: Option<RequestOptions>, max: Duration) -> Duration {
    let RequestOptions { connect_timeout, first_byte_timeout, .. } = options.unwrap_or_default();
    first_byte_timeout.map_or(max, |wait| max.min(wait + connect_timeout.unwrap_or_default()))
}

async fn read_body(
    request: Request<WasiBody>,
    host: &str,
    max_bytes: usize,
) -> Result<Request<Bytes>, HttpError> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, max_bytes).collect().await.map_err(|error| {
        match error.is::<LengthLimitError>() {
            true => {
                HttpError::TooLarge(format!("`{host}`: request body exceeds {max_bytes} bytes"))
            }
            // For example, the guest has dropped the body without finishing it.
            false => HttpError::Failed(format!("`{host}`: request body not complete: {error}")),
        }
    })?;
    Ok(Request::from_parts(parts, body.to_bytes()))
}

fn body_of(bytes: Bytes) -> WasiBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn done() -> Io {
    Box::new(async { Ok(()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime_wasi_http::p2::body::{HostOutgoingBody, StreamContext};

    /// Reads the body of a request that the guest ends with `end`.
    async fn read(end: impl FnOnce(HostOutgoingBody)) -> Result<Request<Bytes>, HttpError> {
        let (guest, body) = HostOutgoingBody::new(StreamContext::Request, None, 1, CHUNK_BYTES);
        let request = Request::new(body.map_err(Error::from).boxed_unsync());
        end(guest);
        read_body(request, "api.example.com", 10).await
    }

    #[tokio::test]
    async fn a_finished_body_is_read() {
        let request = read(|body| body.finish(None).unwrap()).await.unwrap();
        assert!(request.body().is_empty());
    }

    #[tokio::test]
    async fn an_aborted_body_is_not_complete_and_not_too_large() {
        match read(HostOutgoingBody::abort).await.unwrap_err() {
            HttpError::Failed(reason) => {
                assert_eq!(
                    reason,
                    "`api.example.com`: request body not complete: HTTP protocol error"
                );
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_too_large() {
        let body = Full::new(Bytes::from_static(b"11 bytes...")).map_err(|never| match never {});
        let request = Request::new(body.boxed_unsync());
        let error = read_body(request, "api.example.com", 10).await.unwrap_err();
        assert!(matches!(error, HttpError::TooLarge(_)), "{error}");
    }
}
