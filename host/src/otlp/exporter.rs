//! Requests to a receiver, with their retries.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use plugin::HttpRequest;
use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::messages::{ExportResponse, PartialSuccess};
use super::settings::ExporterSettings;
use crate::backoff::Backoff;
use crate::config::{Compression, OtlpSignal};
use crate::lent::http::Http;
use crate::metrics::LostEntries;

/// Maximum size of a response that is read. It contains at most a message for people, so the rest
/// of a longer one is ignored.
const RESPONSE_BYTES: usize = 64 * 1024;

/// Maximum length of a message of the receiver in the log, in characters.
const MESSAGE_CHARS: usize = 200;

/// Number of attempts at a request.
const ATTEMPTS: u32 = 4;

/// Waits before a further attempt.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// Media type of requests and responses.
const PROTOBUF: &str = "application/x-protobuf";

/// Sender of one signal, which sends one request at a time.
pub(super) struct Exporter {
    settings: ExporterSettings,
    signal: OtlpSignal,
    http: Http,
    outage: Outage,
    lost: Arc<LostEntries>,
    /// `true` if the receiver had a message about the last request that succeeded.
    had_message: bool,
}

/// Result of an attempt.
#[derive(Debug, PartialEq)]
enum SendOutcome {
    Accepted(PartialSuccess),
    /// Attempt that a later one can succeed, with the wait that the receiver asks for.
    Retry(String, Option<Duration>),
    /// Request that the receiver will never accept, whose entries are lost.
    Refused(String),
}

impl Exporter {
    /// Creates a sender, which counts in `lost` the entries that it cannot send.
    pub(super) fn new(
        settings: ExporterSettings,
        signal: OtlpSignal,
        lost: Arc<LostEntries>,
    ) -> Exporter {
        lost.add(signal, 0);
        let (http, outage) = (Http::default(), Outage::default());
        Exporter { settings, signal, http, outage, lost, had_message: false }
    }

    /// Sends a message with this number of entries, with further attempts if the receiver is not
    /// available. Logs each new reason of several failures, and the recovery.
    pub(super) async fn send(&mut self, message: &impl Message, entries: usize) {
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
            if self.outage.is_new(&reason, Instant::now()) {
                let (data, url) = (self.signal.name(), self.settings.endpoint.uri());
                match wait {
                    Some(_) => {
                        warn!(data, endpoint = %url, "OTLP push failed, tried again: {reason}");
                    }
                    None => {
                        warn!(data, endpoint = %url, entries, "OTLP data lost, not tried again: {reason}");
                    }
                }
            }
            match wait {
                Some(wait) if attempt < ATTEMPTS => sleep(wait).await,
                _ => break,
            }
        }
        self.outage.failed += 1;
        self.outage.lost += entries as u64;
        self.count_lost(entries as u64);
    }

    /// Counts entries that are not sent.
    pub(super) fn count_lost(&self, entries: u64) {
        self.lost.add(self.signal, entries);
    }

    /// Logs the recovery, and the first of several messages of the receiver, such as those about
    /// requests of which a part was refused.
    fn succeeded(&mut self, partial: &PartialSuccess) {
        let (data, url) = (self.signal.name(), self.settings.endpoint.uri());
        let Outage { failed, lost, .. } = std::mem::take(&mut self.outage);
        if failed > 0 {
            info!(data, endpoint = %url, failed, lost, "OTLP push works again");
        }
        let rejected = u64::try_from(partial.rejected).unwrap_or_default();
        self.count_lost(rejected);
        let has_message = rejected > 0 || !partial.error_message.is_empty();
        if std::mem::replace(&mut self.had_message, has_message) || !has_message {
            return;
        }
        let message = shortened(&partial.error_message);
        match rejected > 0 {
            true => {
                warn!(data, endpoint = %url, rejected, "OTLP receiver refused a part of the data: {message}");
            }
            false => warn!(data, endpoint = %url, "OTLP receiver accepted the data: {message}"),
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
        let deadline = Instant::now() + limit;
        let opened = match timeout_at(deadline, self.http.open(request)).await {
            Err(_) => return SendOutcome::Retry(format!("no response within {limit:?}"), None),
            Ok(Err(error)) => return SendOutcome::Retry(error.to_string(), None),
            Ok(Ok(opened)) => opened,
        };
        // The receiver has decided, so a body that is long or does not arrive changes nothing. A
        // further attempt would push the same entries twice.
        let (response, is_whole) = opened.beginning(RESPONSE_BYTES, deadline).await;
        judge(&response, is_whole)
    }

    fn request(&self, body: Bytes) -> Request<Bytes> {
        let url = self.settings.endpoint.uri();
        let mut request = Request::post(url.clone()).body(body).expect("a valid URL");
        let headers = request.headers_mut();
        let authority = url.authority().map_or("", |it| it.as_str());
        if let Ok(host) = HeaderValue::from_str(authority) {
            headers.insert(HOST, host);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        if self.settings.compression == Compression::Gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        for (name, value) in &self.settings.headers.0 {
            headers.insert(name, value.clone());
        }
        request
    }
}

/// Failures since the last request that succeeded.
#[derive(Default)]
struct Outage {
    /// The number of requests that were given up.
    failed: u64,
    /// The number of their entries.
    lost: u64,
    /// The reasons in the log, and the time of the last of these lines.
    reported: Vec<String>,
    last: Option<Instant>,
}

/// Maximum number of reasons of an outage in the log, and the time between two of these lines.
const MAX_REASONS: usize = 8;
const REASON_INTERVAL: Duration = Duration::from_secs(60);

impl Outage {
    /// Returns `true` for a reason that is to be logged.
    fn is_new(&mut self, reason: &str, now: Instant) -> bool {
        let is_early = self.last.is_some_and(|last| now - last < REASON_INTERVAL);
        let is_known = self.reported.iter().any(|it| it == reason);
        if is_early || is_known || self.reported.len() >= MAX_REASONS {
            return false;
        }
        self.reported.push(reason.to_owned());
        self.last = Some(now);
        true
    }
}

/// Judges a response (OTLP 1.5, "OTLP/HTTP Response"). `is_whole` is `false` if its body was cut.
fn judge(response: &Response<Bytes>, is_whole: bool) -> SendOutcome {
    let status = response.status();
    if status.is_success() {
        return match accepted(response, is_whole) {
            Ok(partial) => SendOutcome::Accepted(partial),
            // Another server than a receiver, such as the sign-in of a network.
            Err(found) => SendOutcome::Refused(format!(
                "the receiver answered {status} with {found}, which is no response of OTLP"
            )),
        };
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

/// Decodes the body of a response that reports success. Returns a description of a body that is
/// not one of OTLP.
fn accepted(response: &Response<Bytes>, is_whole: bool) -> Result<PartialSuccess, String> {
    let body = response.body();
    let media_type = response.headers().get(CONTENT_TYPE).map(|it| it.to_str().unwrap_or_default());
    let essence = media_type.and_then(|it| it.split(';').next()).map(str::trim);
    let is_protobuf = essence.is_none_or(|it| it.eq_ignore_ascii_case(PROTOBUF));
    if body.is_empty() {
        return Ok(PartialSuccess::default());
    }
    if !is_protobuf {
        return Err(format!("`{}`", shortened(essence.unwrap_or_default())));
    }
    if !is_whole {
        return Ok(PartialSuccess::default());
    }
    let decoded = ExportResponse::decode(body.clone()).map_err(|_| "another body".to_owned())?;
    Ok(decoded.partial_success.unwrap_or_default())
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
mod tests;
