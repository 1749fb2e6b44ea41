//! One request: signed, sent, retried if that is safe, and its response parsed.

use std::error::Error;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::error::ErrorResponse;
use protocol::rest;
use protocol::sas::sign;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, IF_MATCH, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use trust::Distrust;

use super::{ANSWER_WAIT, Client, retry};
use crate::{Retry, ServiceError};

/// The lifetime of a token: longer than any request takes.
const TOKEN_LIFETIME: Duration = Duration::from_secs(900);

/// The conditions under which a request may be sent again.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Resend {
    /// After any failure that may pass: repeating the request has no further effect.
    Always,
    /// Only if the hub cannot have acted on the request.
    Undelivered,
}

/// A request to the REST API.
pub(super) struct HubRequest<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    /// The subject of the request, for errors: a device, a query.
    pub(super) subject: String,
    /// The query after the API version: `&name=value`, or nothing.
    pub(super) query: &'static str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) etag: Option<&'a str>,
    /// JSON text.
    pub(super) body: Option<String>,
    pub(super) again: Resend,
    pub(super) wait: Duration,
}

impl HubRequest<'_> {
    pub(super) fn new(method: Method, path: String, subject: String) -> HubRequest<'static> {
        HubRequest {
            method,
            path,
            subject,
            query: "",
            headers: Vec::new(),
            etag: None,
            body: None,
            again: Resend::Always,
            wait: ANSWER_WAIT,
        }
    }
}

/// A successful response of the hub.
pub(super) struct HubResponse {
    hub: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl HubResponse {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        serde_json::from_slice(&self.body).map_err(|error| ServiceError::BadAnswer {
            hub: self.hub.clone(),
            problem: error.to_string(),
        })
    }
}

/// A failed try, and the conditions of a retry.
struct FailedTry {
    error: ServiceError,
    again: bool,
    retry_after: Option<Duration>,
}

impl Client {
    pub(super) async fn send(&self, request: HubRequest<'_>) -> Result<HubResponse, ServiceError> {
        let mut number = 0;
        loop {
            let failed = match self.try_once(&request).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            number += 1;
            if !failed.again || number > self.settings.retries {
                return Err(failed.error);
            }
            let wait = retry::wait(number, failed.retry_after);
            if let Some(tell) = &self.settings.on_retry {
                tell(&Retry { error: &failed.error, number, wait });
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn try_once(&self, request: &HubRequest<'_>) -> Result<HubResponse, FailedTry> {
        let hub = self.hub();
        let HubRequest { path, query, .. } = request;
        let url = format!("https://{hub}{path}?api-version={}{query}", rest::API_VERSION);
        let mut builder = self
            .http
            .request(request.method.clone(), url)
            .header(AUTHORIZATION, self.token())
            .timeout(request.wait);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        match request.etag {
            Some("*") => builder = builder.header(IF_MATCH, "*"),
            Some(etag) => builder = builder.header(IF_MATCH, format!("\"{etag}\"")),
            None => {}
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        let unsent = |error| self.unsent(&error, request);
        let response = builder.send().await.map_err(unsent)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(unsent)?.to_vec();
        let answer = HubResponse { hub, headers, body };
        if status.is_success() { Ok(answer) } else { Err(refused(status, &answer, request)) }
    }

    fn token(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expiry = (now + TOKEN_LIFETIME).as_secs();
        let identity = &self.identity;
        sign(&self.hub(), Some(&identity.policy), &identity.key, expiry).to_string()
    }

    fn unsent(&self, error: &reqwest::Error, request: &HubRequest<'_>) -> FailedTry {
        let hub = self.hub();
        let (problem, distrust) = cause(error);
        let untrusted = distrust.is_some();
        let again = error.is_connect() || request.again == Resend::Always && !error.is_timeout();
        let error = if error.is_timeout() && !error.is_connect() {
            ServiceError::Silent { hub, seconds: request.wait.as_secs() }
        } else {
            ServiceError::Unreachable { hub, problem, distrust }
        };
        // A certificate that is not trusted now is not trusted a second later.
        FailedTry { error, again: again && !untrusted, retry_after: None }
    }
}

/// Returns the innermost cause of an error of reqwest, and the reason if it is an
/// untrusted certificate.
fn cause(error: &reqwest::Error) -> (String, Option<Distrust>) {
    if let Some(reason) = trust::distrust(error) {
        return (format!("its certificate {}", reason.text()), Some(reason));
    }
    let mut bottom: &(dyn Error + 'static) = error;
    while let Some(source) = bottom.source() {
        bottom = source;
    }
    (words(bottom), None)
}

fn words(bottom: &(dyn Error + 'static)) -> String {
    match bottom.downcast_ref::<io::Error>().map(io::Error::kind) {
        // The text of rustls for this links to its manual, which does not help a user.
        Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            "connection closed before an answer".to_owned()
        }
        _ => bottom.to_string(),
    }
}

fn refused(status: StatusCode, answer: &HubResponse, request: &HubRequest<'_>) -> FailedTry {
    let body = String::from_utf8_lossy(&answer.body);
    let header = answer.header(rest::HEADER_ERROR_CODE);
    let response = ErrorResponse::parse(status.as_u16(), header, &body);
    let again = match status.as_u16() {
        429 => true,
        408 | 500 | 503 => request.again == Resend::Always,
        _ => false,
    };
    let seconds = answer.header(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    let subject = request.subject.clone();
    FailedTry { error: ServiceError::Hub { subject, response }, again, retry_after }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_connection_has_a_plain_message() {
        let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed connection: https://");
        assert_eq!(words(&cut), "connection closed before an answer");
        assert_eq!(words(&io::Error::other("no route to host")), "no route to host");
    }
}
