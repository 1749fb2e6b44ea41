//! An HTTP client that refuses every request, since a simulated device has no network.

use std::future::ready;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use plugin::{HttpClient, HttpError, HttpRequest};

pub(super) struct NoNetwork;

impl HttpClient for NoNetwork {
    fn send<'a>(
        &'a self,
        request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        let host = request.request.uri().host().unwrap_or_default();
        let why = format!("`{host}`: a simulated device has no network");
        Box::pin(ready(Err(HttpError::Denied(why))))
    }
}
