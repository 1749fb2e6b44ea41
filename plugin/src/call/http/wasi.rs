//! `wasi:http` of one call: its resources, and the conversion of its requests.

use super::{FIELD_BYTES, Requests};
use crate::HttpError;
use crate::budget::Reservation;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use std::time::Duration;
use wasmtime::component::ResourceTable;
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
};

/// Size of the chunks of a request's body. The host holds two chunks for each request that
/// is being written; the default is 1 MiB.
const CHUNK_BYTES: usize = 16 * 1024;

/// Host memory for one resource of a call: a set of header fields, or a share of a body's
/// chunks. Writing a body takes three resources.
pub(crate) const RESOURCE_BYTES: usize = FIELD_BYTES;

/// State of `wasi:http` in one call.
pub(crate) struct WasiHttp(WasiHttpCtx);

impl WasiHttp {
    pub(super) fn new() -> WasiHttp {
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(FIELD_BYTES);
        WasiHttp(ctx)
    }

    pub(crate) fn view<'a>(
        &'a mut self,
        requests: &'a mut Requests,
        table: &'a mut ResourceTable,
    ) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView { ctx: &mut self.0, table, hooks: requests }
    }
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

/// Background work of a response, which is empty because the body is already read.
type Io = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Requests {
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _fut: Io,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io), Error>> + Send> {
        let sending = self.send(request, timeout(options));
        Box::new(async move {
            match sending.await {
                Ok((response, _reservation)) => {
                    let owned = |bytes| Bytes::from_owner(BudgetedBody { bytes, _reservation });
                    Ok((response.map(owned).map(body_of), done()))
                }
                Err(HttpError::NotTrusted(_)) => Err(Error::TlsCertificateError),
                // The only error of `wasi:http` that carries a message.
                Err(other) => Err(Error::InternalError(Some(other.to_string()))),
            }
        })
    }
}

/// Returns the guest's own timeout of a request.
fn timeout(options: Option<RequestOptions>) -> Option<Duration> {
    let RequestOptions { connect_timeout, first_byte_timeout, .. } = options.unwrap_or_default();
    first_byte_timeout.map(|wait| wait + connect_timeout.unwrap_or_default())
}

fn body_of(bytes: Bytes) -> WasiBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn done() -> Io {
    Box::new(async { Ok(()) })
}

#[cfg(test)]
mod tests {
    use super::super::read_body;
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
            HttpError::Invalid(reason) => {
                assert_eq!(
                    reason,
                    "`api.example.com`: request body not complete: HTTP protocol error"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
