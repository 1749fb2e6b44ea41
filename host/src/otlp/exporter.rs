//! Requests to a receiver, with their retries.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use plugin::{HttpClient as _, HttpRequest};
use prost::Message;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::messages::ExportResponse;
use super::settings::ExporterSettings;
use crate::backoff::Backoff;
use crate::config::{Compression, OtlpEndpoint};
use crate::lent::http::Http;

/// Maximum size of a response, which contains at most a message for people.
const RESPONSE_BYTES: usize = 64 * 1024;

/// Maximum length of a message of the receiver in the log, in characters.
const MESSAGE_CHARS: usize = 200;

/// Number of attempts at a request.
const ATTEMPTS: u32 = 4;

/// Waits before a further attempt.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Sender of one kind of data, which sends one request at a time.
pub(super) struct Exporter {
    settings: ExporterSettings,
    /// The data in log lines, such as `metrics`.
    data: &'static str,
    http: Http,
    /// The number of requests that were given up since the last one that succeeded.
    failed: u64,
}

/// Result of an attempt.
#[derive(Debug, PartialEq, Eq)]
enum SendOutcome {
    Accepted,
    /// Attempt that a later one can succeed, with the wait that the receiver asks for.
    Retry(String, Option<Duration>),
    Refused(String),
}

impl Exporter {
    pub(super) fn new(settings: ExporterSettings, data: &'static str) -> Exporter {
        Exporter { settings, data, http: Http::default(), failed: 0 }
    }

    /// Sends a message, with further attempts if the receiver is not available. Logs the first
    /// of several failures, and the recovery.
    pub(super) async fn send(&mut self, endpoint: &OtlpEndpoint, message: &impl Message) {
        let body = self.body(message);
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        for attempt in 1.. {
            let (reason, wait) = match self.attempt(endpoint, body.clone()).await {
                SendOutcome::Accepted => return self.succeeded(endpoint),
                SendOutcome::Refused(reason) => (reason, None),
                SendOutcome::Retry(reason, wait) => {
                    let wait = wait.map_or_else(|| backoff.next(), |it| it.min(LONGEST_RETRY));
                    (reason, Some(wait))
                }
            };
            // Also during the retries, which can take longer than an interval.
            if self.failed == 0 && attempt == 1 {
                let (data, url) = (self.data, endpoint.uri());
                warn!(data, endpoint = %url, "OTLP push failed, tried again: {reason}");
            }
            match wait {
                Some(wait) if attempt < ATTEMPTS => sleep(wait).await,
                _ => break,
            }
        }
        self.failed += 1;
    }

    fn succeeded(&mut self, endpoint: &OtlpEndpoint) {
        let failed = std::mem::take(&mut self.failed);
        if failed > 0 {
            let (data, url) = (self.data, endpoint.uri());
            info!(data, endpoint = %url, failed, "OTLP push works again");
        }
    }

    fn body(&self, message: &impl Message) -> Bytes {
        let encoded = message.encode_to_vec();
        match self.settings.compression {
            Compression::None => encoded.into(),
            Compression::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(&encoded).expect("writing to memory does not fail");
                encoder.finish().expect("writing to memory does not fail").into()
            }
        }
    }

    async fn attempt(&self, endpoint: &OtlpEndpoint, body: Bytes) -> SendOutcome {
        let request = HttpRequest {
            request: self.request(endpoint, body),
            response_bytes: RESPONSE_BYTES,
            may_be_private: true,
            ca_file: self.settings.ca_file.as_deref(),
        };
        let limit = self.settings.timeout;
        match timeout(limit, self.http.send(request)).await {
            Err(_) => SendOutcome::Retry(format!("no response within {limit:?}"), None),
            Ok(Err(error)) => SendOutcome::Retry(error.to_string(), None),
            Ok(Ok(response)) => self.judge(&response),
        }
    }

    fn request(&self, endpoint: &OtlpEndpoint, body: Bytes) -> Request<Bytes> {
        let mut request = Request::post(endpoint.uri().clone()).body(body).expect("a valid URL");
        let headers = request.headers_mut();
        let authority = endpoint.uri().authority().map_or("", |it| it.as_str());
        if let Ok(host) = HeaderValue::from_str(authority) {
            headers.insert(HOST, host);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if self.settings.compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in &self.settings.headers.0 {
            headers.insert(name, value.clone());
        }
        request
    }

    /// Judges a response (OTLP 1.5, "OTLP/HTTP Response").
    fn judge(&self, response: &Response<Bytes>) -> SendOutcome {
        let status = response.status();
        if status.is_success() {
            let decoded = ExportResponse::decode(response.body().clone()).unwrap_or_default();
            if let Some(partial) = decoded.partial_success.filter(|it| it.rejected > 0) {
                let (data, rejected) = (self.data, partial.rejected);
                let message = shortened(&partial.error_message);
                warn!(data, rejected, "OTLP receiver refused a part of the data: {message}");
            }
            return SendOutcome::Accepted;
        }
        let reason = format!("the receiver answered {status}");
        match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => SendOutcome::Retry(reason, wait(response.headers())),
            _ => SendOutcome::Refused(reason),
        }
    }
}

/// Returns the wait that a receiver asks for in seconds.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Returns the beginning of a message of the receiver, without control characters.
fn shortened(message: &str) -> String {
    let start: String = message.chars().take(MESSAGE_CHARS).collect();
    plugin::readable(&start).into_owned()
}
