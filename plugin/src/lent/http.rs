//! HTTP requests to other machines.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, Uri};
use std::path::Path;

/// Sends HTTP requests. Available to plugins with the capability `http`, for the hosts that
/// they were granted.
///
/// The client follows no redirects and keeps no cookies. Dropping the future cancels the
/// request; a timeout does the same.
pub trait HttpClient: Send + Sync {
    /// Sends a request and returns the complete response.
    fn send<'a>(
        &'a self,
        request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>>;

    /// Receives a request that the sandbox has refused, so that [`send`](Self::send) was not
    /// called, and the error that the plugin receives. The default ignores both.
    fn refused(&self, method: &Method, url: &Uri, error: &HttpError) {
        let _ = (method, url, error);
    }
}

/// An allowed request that is within its limits.
#[derive(Debug, Clone)]
pub struct HttpRequest<'a> {
    /// Request with an absolute URI and the header `host`.
    pub request: Request<Bytes>,
    /// Maximum size of the response's body, in bytes.
    pub response_bytes: usize,
    /// `true` if the host can be this machine or in a private network, which requires that
    /// the operator configured its full name.
    pub may_be_private: bool,
    /// PEM file with certificates that are trusted in addition to the system's.
    pub ca_file: Option<&'a Path>,
}

/// An error of a request. The message names the requested host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The request is not allowed.
    #[error("{0}")]
    Denied(String),
    /// The method, the URL or a header field is invalid.
    #[error("{0}")]
    Invalid(String),
    /// The call has sent as many requests as allowed.
    #[error("{0}")]
    QuotaExceeded(String),
    /// The request or the response is too large.
    #[error("{0}")]
    TooLarge(String),
    /// The host was not reached, or its response is not valid HTTP.
    #[error("{0}")]
    Failed(String),
    /// The certificate is not trusted.
    #[error("{0}")]
    NotTrusted(String),
    /// The response was not complete in time.
    #[error("{0}")]
    TimedOut(String),
    /// Any other reason, on this machine.
    #[error("{0}")]
    Other(String),
}

impl HttpError {
    /// Returns the name of the cause, as in `request-error` of `device:behaviour/http`.
    #[must_use]
    pub fn cause(&self) -> &'static str {
        match self {
            HttpError::Denied(_) => "not-allowed",
            HttpError::Invalid(_) => "invalid-request",
            HttpError::QuotaExceeded(_) => "quota-exceeded",
            HttpError::TooLarge(_) => "too-large",
            HttpError::Failed(_) => "unreachable",
            HttpError::NotTrusted(_) => "not-trusted",
            HttpError::TimedOut(_) => "timed-out",
            HttpError::Other(_) => "other",
        }
    }

    /// Returns the error with this cause, or `None` if there is no such cause.
    #[must_use]
    pub fn of_cause(cause: &str, message: String) -> Option<HttpError> {
        Some(match cause {
            "not-allowed" => HttpError::Denied(message),
            "invalid-request" => HttpError::Invalid(message),
            "quota-exceeded" => HttpError::QuotaExceeded(message),
            "too-large" => HttpError::TooLarge(message),
            "unreachable" => HttpError::Failed(message),
            "not-trusted" => HttpError::NotTrusted(message),
            "timed-out" => HttpError::TimedOut(message),
            "other" => HttpError::Other(message),
            _ => return None,
        })
    }
}
