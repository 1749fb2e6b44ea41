//! Requests to other machines.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use std::path::Path;

/// Sends requests over HTTPS. Only a plugin that was granted the capability
/// reaches it, and only for the hosts that it was granted.
///
/// It follows no redirect and keeps no cookie. A future that is dropped ends its
/// request, as that of one which has taken too long is.
pub trait HttpClient: Send + Sync {
    /// Sends a request, and returns the whole response.
    fn send<'a>(
        &'a self,
        request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>>;
}

/// A request that was granted, and within its limits.
#[derive(Debug, Clone)]
pub struct HttpRequest<'a> {
    /// With the whole URI, and the header `host`.
    pub request: Request<Bytes>,
    /// The body of the response may have so many bytes.
    pub response_bytes: usize,
    /// `true` if the host may be in a private network, or this machine: only a host
    /// that the operator has named in full.
    pub may_be_private: bool,
    /// Certificates to trust beside the system's: a PEM file.
    pub ca_file: Option<&'a Path>,
}

/// A request without a response. The text names the host that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// It must not be asked.
    #[error("{0}")]
    Denied(String),
    /// It was not reached, or did not answer as HTTP has it.
    #[error("{0}")]
    Failed(String),
    /// Its certificate is not trusted.
    #[error("{0}")]
    NotTrusted(String),
    /// Its response is longer than it may be.
    #[error("{0}")]
    TooLarge(String),
}
