//! Sends requests: signs them, retries them if that is safe, and parses the responses.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::connection_string::ServiceConnectionString;
use protocol::error::ErrorResponse;
use protocol::rest;
use protocol::sas::{SasToken, sign};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, IF_MATCH, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::cause::cause;
use super::entra::SignInFailed;
use super::rest_api::RestApi;
use super::{Client, ClientCredential, REQUEST_TIMEOUT, retry};
use crate::{Retry, ServiceError};

/// Lifetime of a token, longer than any request.
const TOKEN_LIFETIME: Duration = Duration::from_secs(900);

/// Conditions under which a request may be sent again.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Resend {
    /// Retry after any transient failure, because the request is idempotent.
    Always,
    /// Retry only if the hub cannot have acted on the request.
    IfUndelivered,
}

/// A request to a REST API.
pub(super) struct HubRequest<'a> {
    pub(super) api: RestApi,
    /// The API version, if it is not the usual one of `api`.
    pub(super) version: Option<&'static str>,
    pub(super) method: Method,
    pub(super) path: String,
    /// The subject of the request in errors, such as the device.
    pub(super) subject: String,
    /// Further query parameters in the form `&name=value`; may be empty.
    pub(super) query: &'a str,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) etag: Option<&'a str>,
    pub(super) body: Option<String>,
    pub(super) content_type: &'static str,
    pub(super) resend: Resend,
    pub(super) timeout: Duration,
}

impl HubRequest<'_> {
    pub(super) fn new(method: Method, path: String, subject: String) -> HubRequest<'static> {
        HubRequest {
            api: RestApi::Hub,
            version: None,
            method,
            path,
            subject,
            query: "",
            headers: Vec::new(),
            etag: None,
            body: None,
            content_type: "application/json",
            resend: Resend::Always,
            timeout: REQUEST_TIMEOUT,
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

    /// Returns `true` if the response has no body.
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, ServiceError> {
        serde_json::from_slice(&self.body).map_err(|error| ServiceError::MalformedResponse {
            hub: self.hub.clone(),
            problem: error.to_string(),
        })
    }
}

/// A failed attempt to send a request.
struct FailedAttempt {
    error: ServiceError,
    /// `true` if the request may be sent again.
    retryable: bool,
    retry_after: Option<Duration>,
}

impl From<SignInFailed> for FailedAttempt {
    fn from(SignInFailed { error, retryable }: SignInFailed) -> FailedAttempt {
        FailedAttempt { error, retryable, retry_after: None }
    }
}

impl Client {
    pub(super) async fn send(&self, request: HubRequest<'_>) -> Result<HubResponse, ServiceError> {
        let mut number = 0;
        loop {
            let failed = match self.try_once(&request).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            number += 1;
            if !failed.retryable || number > self.settings.retries {
                return Err(failed.error);
            }
            let wait = retry::wait(number, failed.retry_after);
            if let Some(on_retry) = &self.settings.on_retry {
                on_retry(&Retry { error: &failed.error, number, wait });
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Sends a request once, and returns the response before its body, which has no end.
    pub(super) async fn open_stream(
        &self,
        request: HubRequest<'_>,
    ) -> Result<Response, ServiceError> {
        let no_response = |error| self.no_response(&error, &request).error;
        // The timeout of the request would include the body.
        let builder = self.builder(&request).await.map_err(|failed| failed.error)?;
        let response = timeout(request.timeout, builder.send()).await;
        let silent =
            |_| ServiceError::Silent { hub: self.hub(), seconds: request.timeout.as_secs() };
        let response = response.map_err(silent)?.map_err(no_response)?;
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(no_response)?.to_vec();
        let response = HubResponse { hub: self.hub(), headers, body };
        Err(self.refused(status, &response, &request).error)
    }

    async fn try_once(&self, request: &HubRequest<'_>) -> Result<HubResponse, FailedAttempt> {
        let no_response = |error| self.no_response(&error, request);
        let builder = self.builder(request).await?.timeout(request.timeout);
        let response = builder.send().await.map_err(no_response)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(no_response)?.to_vec();
        let response = HubResponse { hub: self.hub(), headers, body };
        match status.is_success() {
            true => Ok(response),
            false => Err(self.refused(status, &response, request)),
        }
    }

    async fn builder(&self, request: &HubRequest<'_>) -> Result<RequestBuilder, FailedAttempt> {
        let hub = self.hub();
        let HubRequest { path, query, .. } = request;
        let version = request.version.unwrap_or(request.api.version());
        let url = format!("https://{hub}{path}?api-version={version}{query}");
        let authorization = match &self.credential {
            ClientCredential::Policy(identity) => {
                self.signed_by(identity, "", TOKEN_LIFETIME).to_string()
            }
            ClientCredential::Entra(tokens) => tokens.authorization(request.api).await?,
        };
        let builder = self.http.request(request.method.clone(), url);
        let mut builder = builder.header(AUTHORIZATION, authorization);
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        match request.etag {
            Some("*") => builder = builder.header(IF_MATCH, "*"),
            Some(etag) => builder = builder.header(IF_MATCH, format!("\"{etag}\"")),
            None => {}
        }
        if let Some(body) = &request.body {
            builder = builder.header(CONTENT_TYPE, request.content_type).body(body.clone());
        }
        Ok(builder)
    }

    /// Returns a SAS token with the permissions of the policy in the connection string, for
    /// `path` and all paths below it: `/devices/d1`, or an empty path for the whole hub.
    /// Returns `None` if the client has no policy. Sends no request.
    #[must_use]
    pub fn sas_token(&self, path: &str, lifetime: Duration) -> Option<SasToken> {
        match &self.credential {
            ClientCredential::Policy(identity) => Some(self.signed_by(identity, path, lifetime)),
            ClientCredential::Entra(_) => None,
        }
    }

    fn signed_by(
        &self,
        identity: &ServiceConnectionString,
        path: &str,
        lifetime: Duration,
    ) -> SasToken {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let expiry = now.saturating_add(lifetime).as_secs();
        sign(&format!("{}{path}", self.hub()), Some(&identity.policy), &identity.key, expiry)
    }

    fn refused(
        &self,
        status: StatusCode,
        refusal: &HubResponse,
        request: &HubRequest<'_>,
    ) -> FailedAttempt {
        let failed = refused(status, refusal, request);
        match &self.credential {
            // The hints about keys would not fit.
            ClientCredential::Entra(_) if status == StatusCode::UNAUTHORIZED => FailedAttempt {
                error: ServiceError::AccessDenied(Box::new(failed.error)),
                ..failed
            },
            _ => failed,
        }
    }

    fn no_response(&self, error: &reqwest::Error, request: &HubRequest<'_>) -> FailedAttempt {
        let hub = self.hub();
        let (problem, distrust) = cause(error);
        let untrusted = distrust.is_some();
        let retryable =
            error.is_connect() || request.resend == Resend::Always && !error.is_timeout();
        let error = if error.is_timeout() && !error.is_connect() {
            ServiceError::Silent { hub, seconds: request.timeout.as_secs() }
        } else {
            ServiceError::Unreachable { hub, problem, distrust }
        };
        // A retry cannot make an untrusted certificate trusted.
        FailedAttempt { error, retryable: retryable && !untrusted, retry_after: None }
    }
}

fn refused(status: StatusCode, refusal: &HubResponse, request: &HubRequest<'_>) -> FailedAttempt {
    let body = String::from_utf8_lossy(&refusal.body);
    let header = refusal.header(rest::HEADER_ERROR_CODE);
    let response = ErrorResponse::parse(status.as_u16(), header, &body);
    let retryable = match status.as_u16() {
        429 => true,
        408 | 500 | 503 => request.resend == Resend::Always,
        _ => false,
    };
    let seconds = refusal.header(RETRY_AFTER.as_str()).and_then(|text| text.parse().ok());
    let retry_after = seconds.map(Duration::from_secs);
    let subject = request.subject.clone();
    let provisioning =
        serde_json::from_str(&body).ok().filter(|_| request.api == RestApi::Provisioning);
    let error = match provisioning {
        Some(error) => ServiceError::Provisioning { subject, http_status: status.as_u16(), error },
        None => ServiceError::Hub { subject, response },
    };
    FailedAttempt { error, retryable, retry_after }
}
