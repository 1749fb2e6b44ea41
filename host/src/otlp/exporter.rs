//! Requests to a receiver, with their retries.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use plugin::{HttpClient as _, HttpRequest};
use prost::Message;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::messages::{ExportResponse, PartialSuccess};
use super::settings::ExporterSettings;
use crate::backoff::Backoff;
use crate::config::{Compression, OtlpSignal};
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

/// Sender of one signal, which sends one request at a time.
pub(super) struct Exporter {
    settings: ExporterSettings,
    signal: OtlpSignal,
    http: Http,
    /// The number of requests that were given up since the last one that succeeded.
    failed: u64,
    /// `true` if the receiver has refused a part of the last request that succeeded.
    is_partial: bool,
}

/// Result of an attempt.
#[derive(Debug, PartialEq)]
enum SendOutcome {
    Accepted(PartialSuccess),
    /// Attempt that a later one can succeed, with the wait that the receiver asks for.
    Retry(String, Option<Duration>),
    Refused(String),
}

impl Exporter {
    pub(super) fn new(settings: ExporterSettings, signal: OtlpSignal) -> Exporter {
        Exporter { settings, signal, http: Http::default(), failed: 0, is_partial: false }
    }

    /// Sends a message, with further attempts if the receiver is not available. Logs the first
    /// of several failures, and the recovery.
    pub(super) async fn send(&mut self, message: &impl Message) {
        let body = self.body(message);
        let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY);
        for attempt in 1.. {
            let (reason, wait) = match self.attempt(body.clone()).await {
                SendOutcome::Accepted(partial) => return self.succeeded(&partial),
                SendOutcome::Refused(reason) => (reason, None),
                SendOutcome::Retry(reason, wait) => {
                    let wait = wait.map_or_else(|| backoff.next(), |it| it.min(LONGEST_RETRY));
                    (reason, Some(wait))
                }
            };
            // Also during the retries, which can take longer than an interval.
            if self.failed == 0 && attempt == 1 {
                let (data, url) = (self.signal.name(), self.settings.endpoint.uri());
                warn!(data, endpoint = %url, "OTLP push failed, tried again: {reason}");
            }
            match wait {
                Some(wait) if attempt < ATTEMPTS => sleep(wait).await,
                _ => break,
            }
        }
        self.failed += 1;
    }

    /// Logs the recovery, and the first of several requests of which a part was refused.
    fn succeeded(&mut self, partial: &PartialSuccess) {
        let (data, url) = (self.signal.name(), self.settings.endpoint.uri());
        let failed = std::mem::take(&mut self.failed);
        if failed > 0 {
            info!(data, endpoint = %url, failed, "OTLP push works again");
        }
        let rejected = partial.rejected;
        let was_partial = std::mem::replace(&mut self.is_partial, rejected > 0);
        if rejected > 0 && !was_partial {
            let message = shortened(&partial.error_message);
            warn!(data, endpoint = %url, rejected, "OTLP receiver refused a part of the data: {message}");
        }
    }

    /// Logs the number of entries that were dropped because their queue was full.
    pub(super) fn report_dropped(&self, dropped: u64) {
        let (data, url) = (self.signal.name(), self.settings.endpoint.uri());
        warn!(data, endpoint = %url, dropped, "OTLP data dropped: it was not pushed fast enough");
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

    async fn attempt(&self, body: Bytes) -> SendOutcome {
        let request = HttpRequest {
            request: self.request(body),
            response_bytes: RESPONSE_BYTES,
            may_be_private: true,
            ca_file: self.settings.ca_file.as_deref(),
        };
        let limit = self.settings.timeout;
        match timeout(limit, self.http.send(request)).await {
            Err(_) => SendOutcome::Retry(format!("no response within {limit:?}"), None),
            Ok(Err(error)) => SendOutcome::Retry(error.to_string(), None),
            Ok(Ok(response)) => judge(&response),
        }
    }

    fn request(&self, body: Bytes) -> Request<Bytes> {
        let url = self.settings.endpoint.uri();
        let mut request = Request::post(url.clone()).body(body).expect("a valid URL");
        let headers = request.headers_mut();
        let authority = url.authority().map_or("", |it| it.as_str());
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
}

/// Judges a response (OTLP 1.5, "OTLP/HTTP Response").
fn judge(response: &Response<Bytes>) -> SendOutcome {
    let status = response.status();
    if status.is_success() {
        let decoded = ExportResponse::decode(response.body().clone()).unwrap_or_default();
        return SendOutcome::Accepted(decoded.partial_success.unwrap_or_default());
    }
    let reason = format!("the receiver answered {status}");
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => {
            SendOutcome::Retry(reason, wait(response.headers(), Timestamp::now()))
        }
        _ => SendOutcome::Refused(reason),
    }
}

/// Returns the wait that a receiver asks for, in seconds or until a date (RFC 9110, "Retry-After").
/// There is none until a date in the past.
fn wait(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    // Dates of HTTP have the form of those in e-mails, with the zone GMT.
    let until = rfc2822::parse(text).ok()?.timestamp();
    Some(until.duration_since(now).try_into().unwrap_or_default())
}

/// Returns the beginning of a message of the receiver, without control characters.
fn shortened(message: &str) -> String {
    let start: String = message.chars().take(MESSAGE_CHARS).collect();
    plugin::readable(&start).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use program::EventFields;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tracing::{Event, Subscriber};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::super::messages::Resource;
    use super::super::settings::Headers;
    use super::*;
    use crate::config::OtlpEndpoint;

    /// Layer that keeps the lines of the log.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            let EventFields { message, fields } = EventFields::of(event);
            let failed = fields.iter().find(|(name, _)| *name == "failed");
            let failed = failed.map(|(_, count)| format!(" failed={count}")).unwrap_or_default();
            self.0.lock().push(message + &failed);
        }
    }

    fn exporter(port: u16) -> Exporter {
        let settings = ExporterSettings {
            endpoint: OtlpEndpoint::parse(&format!("http://127.0.0.1:{port}/v1/logs")).unwrap(),
            headers: Headers::default(),
            ca_file: None,
            timeout: Duration::from_secs(10),
            compression: Compression::None,
        };
        Exporter::new(settings, OtlpSignal::Logs)
    }

    #[tokio::test]
    async fn a_receiver_that_refuses_connections_is_reported_once_and_its_recovery_once() {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(kept.clone());
        let _default = tracing::subscriber::set_default(subscriber);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut exporter = exporter(address.port());
        // Time passes only while the exporter waits for a further attempt.
        tokio::time::pause();
        for _ in 0..3 {
            exporter.send(&Resource::default()).await;
        }
        tokio::time::resume();
        let listener = TcpListener::bind(address).await.unwrap();
        let serving = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            assert!(client.read(&mut [0; 1024]).await.unwrap() > 0);
            client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        });
        exporter.send(&Resource::default()).await;
        serving.await.unwrap();
        let lines = kept.0.lock().clone();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].starts_with("OTLP push failed, tried again: "), "{lines:?}");
        assert_eq!(lines[1], "OTLP push works again failed=3");
    }

    #[test]
    fn only_failures_that_may_pass_are_tried_again() {
        let judged = |status: u16, retry_after: Option<&str>| {
            let mut response = Response::builder().status(status);
            if let Some(text) = retry_after {
                response = response.header(RETRY_AFTER, text);
            }
            match judge(&response.body(Bytes::new()).unwrap()) {
                SendOutcome::Accepted(_) => ("accepted", None),
                SendOutcome::Retry(_, wait) => ("retry", wait),
                SendOutcome::Refused(_) => ("refused", None),
            }
        };
        assert_eq!(judged(200, None), ("accepted", None));
        assert_eq!(judged(429, Some("7")), ("retry", Some(Duration::from_secs(7))));
        assert_eq!(judged(503, Some("soon")), ("retry", None));
        for status in [400, 401, 404, 500] {
            assert_eq!(judged(status, Some("7")), ("refused", None), "{status}");
        }
    }

    #[test]
    fn the_wait_for_a_receiver_is_in_seconds_or_until_a_date() {
        let now: Timestamp = "2026-11-30T19:00:00Z".parse().unwrap();
        let waits = |text: &'static str| {
            let headers = [(RETRY_AFTER, HeaderValue::from_static(text))];
            wait(&headers.into_iter().collect(), now)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(waits(" 7"), seconds(7));
        assert_eq!(waits("Mon, 30 Nov 2026 19:00:25 GMT"), seconds(25));
        assert_eq!(waits("Mon, 30 Nov 2026 18:59:59 GMT"), seconds(0), "in the past");
        for text in ["", "soon", "-1", "2026-11-30T19:00:25Z"] {
            assert_eq!(waits(text), None, "{text}");
        }
    }
}
