//! One request to a registry: authorization, redirects, retries and errors.

use std::time::{Duration, SystemTime};

use program::chain;
use reqwest::header::{
    AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::sleep;

use super::challenge::{Challenge, challenges};
use super::endpoint::{Endpoint, has_same_origin, is_loopback_or_tls};
use super::rights::Rights;
use super::{Client, retry};
use crate::SourceError;
use crate::source::WITHOUT_TLS;

/// Maximum number of redirects of a request.
const MAX_REDIRECTS: usize = 5;

/// Maximum length of an error's body, in bytes.
const MAX_ERROR_BYTES: usize = 16 * 1024;

/// Part of the message of rustls about a server that does not use TLS.
const PLAIN: &str = "received corrupt message";

/// Maximum length of a registry's text in a message, in characters.
const MAX_MESSAGE: usize = 200;

/// A request to a registry.
#[derive(Clone)]
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    pub(super) rights: Rights,
    /// The reference or digest, for messages.
    pub(super) subject: String,
    /// The statuses, other than those of success, that the caller handles.
    pub(super) expected: &'static [u16],
}

impl Call {
    /// Creates a request without a body.
    pub(super) fn get(url: Url, rights: Rights, subject: String) -> Call {
        Call {
            method: Method::GET,
            url,
            headers: HeaderMap::new(),
            body: Vec::new(),
            rights,
            subject,
            expected: &[],
        }
    }

    /// Returns `true` if a repetition has the same effect as one request.
    fn is_idempotent(&self) -> bool {
        !matches!(self.method, Method::POST | Method::PATCH)
    }
}

impl Client {
    /// Sends a request until it succeeds, fails for good, or has been repeated often enough.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        call: &Call,
    ) -> Result<Response, SourceError> {
        let mut number = 0;
        loop {
            let error = match self.send_once(endpoint, call).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            number += 1;
            if number > self.retries(endpoint) || !error.is_transient() || !call.is_idempotent() {
                return Err(error);
            }
            match self.pause(&error, number) {
                Some(wait) => sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    /// Returns the wait before a retry; `None` if the registry wants a longer one than allowed.
    pub(super) fn pause(&self, error: &SourceError, number: u32) -> Option<Duration> {
        match error {
            SourceError::Busy { retry_after: Some(wait), .. } => {
                (*wait <= self.shared.settings.max_retry_after).then_some(*wait)
            }
            _ => Some(retry::wait(number)),
        }
    }

    /// Sends a request once; twice if the registry demands other credentials.
    pub(super) async fn send_once(
        &self,
        endpoint: &Endpoint,
        call: &Call,
    ) -> Result<Response, SourceError> {
        let mut authorization = self.cached_authorization(endpoint, &call.rights);
        let first = self.follow(endpoint, call, authorization.as_ref()).await?;
        if first.response.status() != StatusCode::UNAUTHORIZED {
            return self.classify(endpoint, call, first.response).await;
        }
        let unauthorized =
            |known| SourceError::Unauthorized { registry: endpoint.name.clone(), known };
        // Only the registry itself may ask for its credentials (CVE-2020-15157).
        if !first.at_origin {
            return Err(unauthorized(authorization.is_some()));
        }
        self.forget_authorization(endpoint, &call.rights);
        let offered = offered(first.response.headers());
        authorization = self.authorize(endpoint, &call.rights, &offered).await?;
        let Some(header) = authorization.as_ref() else { return Err(unauthorized(false)) };
        let second = self.follow(endpoint, call, Some(header)).await?;
        if second.response.status() == StatusCode::UNAUTHORIZED {
            self.forget_authorization(endpoint, &call.rights);
            return Err(unauthorized(true));
        }
        self.classify(endpoint, call, second.response).await
    }

    /// Sends a request and follows redirects. The authorization goes only to the origin of the
    /// first request.
    async fn follow(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        authorization: Option<&HeaderValue>,
    ) -> Result<Followed, SourceError> {
        let mut url = call.url.clone();
        let mut at_origin = endpoint.is_origin_of(&url);
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = call.headers.clone();
            if let Some(authorization) = authorization.filter(|_| at_origin) {
                headers.insert(AUTHORIZATION, authorization.clone());
            }
            let request = self
                .shared
                .http
                .request(call.method.clone(), url.clone())
                .headers(headers)
                .body(call.body.clone());
            let sent = request.send().await;
            let response = sent.map_err(|error| self.failure(&endpoint.name, &error))?;
            let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
            if !is_redirect {
                return Ok(Followed { response, at_origin });
            }
            let target = self.target(endpoint, call, &url, &response)?;
            at_origin &= has_same_origin(&url, &target);
            url = target;
        }
        Err(protocol(endpoint, format!("redirects more than {MAX_REDIRECTS} times")))
    }

    /// Returns the target of a redirect.
    fn target(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        url: &Url,
        response: &Response,
    ) -> Result<Url, SourceError> {
        if !matches!(call.method, Method::GET | Method::HEAD) {
            return Err(protocol(endpoint, "redirects an upload"));
        }
        let location = location(endpoint, url, response.headers())?;
        // Each hop must keep TLS, not only the first.
        if url.scheme() == "https" && location.scheme() != "https" {
            return Err(protocol(endpoint, "redirects to a server without TLS"));
        }
        match endpoint.may_lead_to(&location) {
            true => Ok(location),
            false => Err(protocol(endpoint, "redirects to a server without TLS")),
        }
    }

    async fn classify(
        &self,
        endpoint: &Endpoint,
        call: &Call,
        response: Response,
    ) -> Result<Response, SourceError> {
        let status = response.status();
        if status.is_success() || call.expected.contains(&status.as_u16()) {
            return Ok(response);
        }
        let registry = endpoint.name.clone();
        let retry_after = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| retry::retry_after(value.to_str().ok()?, SystemTime::now()));
        let message = self.message(response).await;
        let subject = call.subject.clone();
        Err(match status.as_u16() {
            403 => SourceError::Denied { registry, subject, message },
            404 => SourceError::NotFound { subject, place: registry },
            429 => SourceError::Busy { registry, retry_after },
            503 if retry_after.is_some() => SourceError::Busy { registry, retry_after },
            408 => SourceError::Unavailable { registry, reason: "status 408".to_owned() },
            code if code >= 500 => SourceError::Unavailable {
                registry,
                reason: match message.is_empty() {
                    true => format!("status {code}"),
                    false => format!("status {code}: {message}"),
                },
            },
            status => SourceError::Status { registry, subject, status, message },
        })
    }

    /// Returns the text of an error's body; empty if it has none that is readable.
    async fn message(&self, response: Response) -> String {
        let Ok(body) = bounded(response, MAX_ERROR_BYTES).await else { return String::new() };
        error_message(&body)
    }

    pub(super) fn failure(&self, registry: &str, error: &reqwest::Error) -> SourceError {
        let registry = registry.to_owned();
        if let Some(reason) = trust::distrust(error) {
            return SourceError::NotTrusted { registry, reason: reason.text().into_owned() };
        }
        if error.is_timeout() {
            return SourceError::TimedOut { registry, limit: self.shared.settings.timeout };
        }
        // The URL may have a signature in its query, and is not needed: the server is named.
        let mut cause = std::error::Error::source(error);
        let mut reason = String::new();
        while let Some(error) = cause {
            reason = chain(error).to_string();
            cause = error.source().filter(|_| reason.contains("client error"));
        }
        let reason = match reason.contains(PLAIN) {
            true => WITHOUT_TLS.to_owned(),
            false => json::excerpt(&reason, MAX_MESSAGE).into_owned(),
        };
        SourceError::Unavailable { registry, reason }
    }
}

/// A response, after redirects.
struct Followed {
    response: Response,
    /// `true` if every server on the way was the registry itself.
    at_origin: bool,
}

/// Returns the URL of the header `Location`, which may be relative to `url`.
pub(super) fn location(
    endpoint: &Endpoint,
    url: &Url,
    headers: &HeaderMap,
) -> Result<Url, SourceError> {
    let text = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let text = text.ok_or_else(|| protocol(endpoint, "sends no target of a redirect"))?;
    url.join(text).map_err(|_| protocol(endpoint, "sends a malformed target of a redirect"))
}

pub(super) fn protocol(endpoint: &Endpoint, problem: impl Into<String>) -> SourceError {
    SourceError::Protocol { registry: endpoint.name.clone(), problem: problem.into() }
}

/// Returns the challenges of a response that credentials may be sent for.
fn offered(headers: &HeaderMap) -> Vec<Challenge> {
    let headers = headers.get_all(WWW_AUTHENTICATE).iter();
    let all = headers.filter_map(|value| value.to_str().ok()).flat_map(challenges);
    all.filter(|challenge| match challenge {
        Challenge::Basic => true,
        Challenge::Bearer { realm, .. } => is_loopback_or_tls(realm),
    })
    .take(8)
    .collect()
}

/// Reads a body of at most `max` bytes. The error is the number of bytes read.
pub(super) async fn bounded(mut response: Response, max: usize) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(BodyError::Failed)? {
        if body.len() + chunk.len() > max {
            return Err(BodyError::TooLong(body.len() + chunk.len()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Error of reading a body.
pub(super) enum BodyError {
    /// A connection that failed.
    Failed(reqwest::Error),
    /// A body that is too long, with a lower bound of its length.
    TooLong(usize),
}

#[derive(Deserialize)]
struct ErrorBody {
    errors: Vec<ErrorItem>,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// Returns the first error of a body as one line; empty if the body has another form, such as
/// a page for people.
fn error_message(body: &[u8]) -> String {
    let parsed: Result<ErrorBody, _> = serde_json::from_slice(body);
    let Some(first) = parsed.ok().and_then(|body| body.errors.into_iter().next()) else {
        return String::new();
    };
    let text = match first.message.is_empty() {
        true => first.code,
        false => format!("{} ({})", first.message, first.code),
    };
    json::excerpt(&text, MAX_MESSAGE).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_of_a_registry_is_one_bounded_line() {
        let body = br#"{"errors":[{"code":"DENIED","message":"not\nyours","detail":{}}]}"#;
        assert_eq!(error_message(body), "not\\nyours (DENIED)");
        assert_eq!(error_message(br#"{"errors":[{"code":"X"}]}"#), "X");
        for body in ["", "<html>", "404 page not found", "{\"errors\":[]}", "[]"] {
            assert_eq!(error_message(body.as_bytes()), "");
        }
        let long = format!("{{\"errors\":[{{\"message\":\"{}\"}}]}}", "x".repeat(9000));
        assert_eq!(error_message(long.as_bytes()).len(), MAX_MESSAGE);
    }
}
