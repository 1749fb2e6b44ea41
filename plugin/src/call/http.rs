//! HTTP requests of one call: the capability `http`.
//!
//! [`Requests`] checks each request, reads it completely, and passes it to the host's
//! [`HttpClient`](crate::HttpClient). Both interfaces with requests use it:
//! `device:behaviour/http`, and `wasi:http` through [`wasi`]. A refused request is logged and
//! reported to the guest, with the name of the requested host. This module uses HTTP types
//! only and opens no connections.

pub(crate) mod wasi;

use super::log::CallLog;
use crate::about::About;
use crate::budget::{Budget, Reservation};
use crate::{Call, HttpClient, HttpError, HttpRequest, Level};
use bytes::Bytes;
use http::uri::Scheme;
use http::{Request, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use wasi::WasiHttp;

/// Maximum size of the header fields of a request, and of a response that the host returns
/// with its fields. A guest can hold as many sets of fields of `wasi:http` as it has
/// resources; the default of wasmtime-wasi-http is 128 KiB for each.
pub(crate) const FIELD_BYTES: usize = 16 * 1024;

/// Maximum number of concurrent requests of one call. Each takes a file descriptor; further
/// requests wait within their timeout.
const AT_ONCE_OF_CALL: usize = 4;
/// Maximum number of concurrent requests of all calls of a plugin.
pub(crate) const AT_ONCE_OF_PLUGIN: usize = 32;

/// HTTP state of one call.
pub(crate) struct Http {
    pub(crate) requests: Requests,
    /// Share of the budget of the response that the host copied last into the guest's memory.
    pub(crate) copied: Option<Reservation>,
    /// `None` unless the plugin imports `wasi:http`.
    pub(crate) wasi: Option<WasiHttp>,
}

impl Http {
    pub(crate) fn new(
        plugin: &Arc<About>,
        call: &Call<'_>,
        log: &Arc<CallLog>,
        budget: &Arc<Budget>,
    ) -> Http {
        let requests = Requests {
            plugin: Arc::clone(plugin),
            client: Arc::clone(&call.lent.http),
            log: Arc::clone(log),
            budget: Arc::clone(budget),
            left: plugin.http.requests,
            slots: Arc::new(Semaphore::new(AT_ONCE_OF_CALL)),
        };
        let wasi = plugin.imports.wasi_http.then(WasiHttp::new);
        Http { requests, copied: None, wasi }
    }
}

/// Requests of one call, within the limits of the plugin.
pub(crate) struct Requests {
    plugin: Arc<About>,
    client: Arc<dyn HttpClient>,
    log: Arc<CallLog>,
    budget: Arc<Budget>,
    left: u32,
    slots: Arc<Semaphore>,
}

/// A response, and the share of the budget for its body.
pub(crate) type Received = (Response<Bytes>, Reservation);

impl Requests {
    /// Checks a request, and returns the future that sends it. `timeout` is the guest's own;
    /// the operator's applies if it is shorter.
    pub(crate) fn send<B>(
        &mut self,
        request: Request<B>,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<Received, HttpError>> + Send + use<B>
    where
        B: BodyExt<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let may_be_private = self.admit(&request);
        let (plugin, client) = (Arc::clone(&self.plugin), Arc::clone(&self.client));
        let (log, budget) = (Arc::clone(&self.log), Arc::clone(&self.budget));
        let slots = Arc::clone(&self.slots);
        let max = plugin.http.timeout;
        let limit = timeout.map_or(max, |timeout| timeout.min(max));
        async move {
            let host = request.uri().authority().map_or("", |authority| authority.as_str());
            let host = host.to_owned();
            let (method, url) = (request.method().clone(), request.uri().clone());
            let (client, mut is_sent) = (&*client, false);
            let exchange = async {
                let may_be_private = may_be_private?;
                let settings = &plugin.http;
                let closed = |_| HttpError::Other("the host is stopping".to_owned());
                let _of_call = slots.acquire().await.map_err(closed)?;
                let _of_plugin = plugin.http_slots.acquire().await.map_err(closed)?;
                let both_bytes = settings.request_bytes.saturating_add(settings.response_bytes);
                let mut reservation = reserve(&budget, &host, both_bytes)?;
                let request = read_body(request, &host, settings.request_bytes).await?;
                is_sent = true;
                let response = client
                    .send(HttpRequest {
                        request,
                        response_bytes: settings.response_bytes,
                        may_be_private,
                        ca_file: settings.ca_file.as_deref(),
                    })
                    .await?;
                reservation.shrink_to(response.body().len());
                Ok((response, reservation))
            };
            let outcome = tokio::time::timeout(limit, exchange).await.unwrap_or_else(|_| {
                let problem = format!("`{host}` has not answered within {limit:?}");
                Err(HttpError::TimedOut(problem))
            });
            outcome.inspect_err(|problem| {
                note(&log, problem);
                if !is_sent {
                    client.refused(&method, &url, problem);
                }
            })
        }
    }

    /// Logs the refusal of a request that is not sent, and returns it.
    pub(crate) fn refuse(&self, problem: HttpError) -> HttpError {
        note(&self.log, &problem);
        problem
    }

    /// Logs the refusal of a valid request that is not sent, passes it to the client, and
    /// returns it.
    pub(crate) fn refuse_valid<B>(&self, request: &Request<B>, problem: HttpError) -> HttpError {
        self.client.refused(request.method(), request.uri(), &problem);
        self.refuse(problem)
    }

    /// Reserves memory for a request's body that the guest has passed already.
    pub(crate) fn reserve(&self, host: &str, bytes: usize) -> Result<Reservation, HttpError> {
        let max_bytes = self.plugin.http.request_bytes;
        match bytes > max_bytes {
            true => Err(too_large(host, max_bytes)),
            false => reserve(&self.budget, host, bytes),
        }
    }

    /// Checks that the request is allowed. Returns `true` if its host can be in a private
    /// network.
    fn admit<B>(&mut self, request: &Request<B>) -> Result<bool, HttpError> {
        let uri = request.uri();
        let scheme = uri.scheme().unwrap_or(&Scheme::HTTPS);
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let found = self.plugin.http.hosts.iter().find_map(|host| host.admits(scheme, uri));
        let Some(may_be_private) = found else {
            let plugin = &self.plugin.name;
            let hosts = &self.plugin.http.hosts;
            let only_https = *scheme == Scheme::HTTP
                && hosts.iter().any(|host| host.admits(&Scheme::HTTPS, uri).is_some());
            let hint = match only_https {
                true => ", where a host without `http://` means HTTPS only",
                false => "",
            };
            return Err(HttpError::Denied(format!(
                "`{scheme}://{authority}` is not among the `hosts` under \
                 [plugins.{plugin}.http]{hint}"
            )));
        };
        self.left = self.left.checked_sub(1).ok_or_else(|| {
            let problem = format!("`{authority}`: limit of requests in one call reached");
            HttpError::QuotaExceeded(problem)
        })?;
        Ok(may_be_private)
    }
}

fn note(log: &CallLog, problem: &HttpError) {
    log.write(Level::Warn, &format!("http: {problem}"), Vec::new());
}

fn reserve(budget: &Arc<Budget>, host: &str, bytes: usize) -> Result<Reservation, HttpError> {
    let exhausted = |error| HttpError::Other(format!("`{host}`: {error}"));
    Reservation::new(budget, bytes).map_err(exhausted)
}

fn too_large(host: &str, max_bytes: usize) -> HttpError {
    HttpError::TooLarge(format!("`{host}`: request body exceeds {max_bytes} bytes"))
}

async fn read_body<B>(
    request: Request<B>,
    host: &str,
    max_bytes: usize,
) -> Result<Request<Bytes>, HttpError>
where
    B: BodyExt<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    let body = std::pin::pin!(Limited::new(body, max_bytes));
    let body = body.collect().await.map_err(|error| match error.is::<LengthLimitError>() {
        true => too_large(host, max_bytes),
        // For example, the guest has dropped the body without finishing it.
        false => HttpError::Invalid(format!("`{host}`: request body not complete: {error}")),
    })?;
    Ok(Request::from_parts(parts, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;

    #[tokio::test]
    async fn a_body_above_the_limit_is_too_large() {
        let request = Request::new(Full::new(Bytes::from_static(b"11 bytes...")));
        let error = read_body(request, "api.example.com", 10).await.unwrap_err();
        assert!(matches!(error, HttpError::TooLarge(_)), "{error}");
    }
}
