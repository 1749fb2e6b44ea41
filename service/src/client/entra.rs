//! Sign-in by Microsoft Entra ID: access tokens in place of SAS tokens.
//!
//! Uses Microsoft's crate with this client's own HTTPS, so that the certificates to trust are
//! the same and the process has one TLS library. This is the only module that depends on
//! `azure_identity` and `azure_core`.
//!
//! Applications with a certificate are not supported: for them, the crate depends on OpenSSL.

use std::env;
use std::error::Error as _;
use std::fmt;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::credentials::{AccessToken, TokenCredential};
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::{
    AsyncRawResponse, Body, ClientOptions, HttpClient, Request, RetryOptions, Transport,
};
use azure_identity::{
    AzureCliCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use reqwest::StatusCode;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::cause::cause;
use super::rest_api::RestApi;
use crate::{EntraSignIn, ServiceError};

/// Time limit for an access token, also for one of the Azure CLI.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(60);

/// Remaining lifetime below which a token is replaced.
const MARGIN: Duration = Duration::from_secs(300);

/// Access tokens of one identity.
pub(super) struct EntraTokens {
    sign_in: EntraSignIn,
    credential: Arc<dyn TokenCredential>,
    /// The last token, which the CLI would otherwise create for each request.
    cached: Mutex<Option<(RestApi, AccessToken)>>,
}

impl fmt::Debug for EntraTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EntraTokens").field("sign_in", &self.sign_in).finish_non_exhaustive()
    }
}

/// An access token that could not be obtained.
pub(super) struct SignInFailed {
    pub(super) error: ServiceError,
    /// `true` if the next attempt may succeed.
    pub(super) retryable: bool,
}

impl EntraTokens {
    /// Reads the environment, without connecting to Microsoft Entra ID.
    pub(super) fn new(
        sign_in: EntraSignIn,
        http: reqwest::Client,
    ) -> Result<EntraTokens, ServiceError> {
        let failed = |error| SignInFailed::new(sign_in, &error).error;
        let options = || ClientOptions {
            transport: Some(Transport::new(Arc::new(Https(http.clone())))),
            // The client retries by its own settings.
            retry: RetryOptions::none(),
            ..ClientOptions::default()
        };
        let credential: Arc<dyn TokenCredential> = match sign_in {
            EntraSignIn::Environment => {
                let options = ClientSecretCredentialOptions { client_options: options() };
                ClientSecretCredential::new(
                    &variable(sign_in, "AZURE_TENANT_ID")?,
                    variable(sign_in, "AZURE_CLIENT_ID")?,
                    variable(sign_in, "AZURE_CLIENT_SECRET")?.into(),
                    Some(options),
                )
                .map_err(failed)?
            }
            EntraSignIn::WorkloadIdentity => {
                let options = WorkloadIdentityCredentialOptions {
                    credential_options: ClientAssertionCredentialOptions {
                        client_options: options(),
                    },
                    tenant_id: Some(variable(sign_in, "AZURE_TENANT_ID")?),
                    client_id: Some(variable(sign_in, "AZURE_CLIENT_ID")?),
                    token_file_path: Some(variable(sign_in, "AZURE_FEDERATED_TOKEN_FILE")?.into()),
                };
                WorkloadIdentityCredential::new(Some(options)).map_err(failed)?
            }
            EntraSignIn::AzureCli => AzureCliCredential::new(None).map_err(failed)?,
        };
        Ok(EntraTokens { sign_in, credential, cached: Mutex::default() })
    }

    /// Returns an access token for an API as the value of `Authorization`, which must not be
    /// logged.
    pub(super) async fn authorization(&self, api: RestApi) -> Result<String, SignInFailed> {
        let mut cached = self.cached.lock().await;
        let token = match cached.take() {
            Some((of, token)) if of == api && is_fresh(&token) => token,
            _ => self.fetch(api).await?,
        };
        let header = format!("Bearer {}", token.token.secret());
        *cached = Some((api, token));
        Ok(header)
    }

    async fn fetch(&self, api: RestApi) -> Result<AccessToken, SignInFailed> {
        let fetched = timeout(TOKEN_TIMEOUT, self.credential.get_token(&[api.scope()], None)).await;
        let fetched = fetched.map_err(|_| {
            let problem = format!("no access token within {} s", TOKEN_TIMEOUT.as_secs());
            SignInFailed { error: unreachable(self.sign_in, problem), retryable: false }
        })?;
        fetched.map_err(|error| SignInFailed::new(self.sign_in, &error))
    }
}

fn is_fresh(token: &AccessToken) -> bool {
    SystemTime::from(token.expires_on) > SystemTime::now() + MARGIN
}

fn variable(sign_in: EntraSignIn, name: &str) -> Result<String, ServiceError> {
    let value = env::var(name).ok().filter(|value| !value.is_empty());
    value.ok_or_else(|| refused(sign_in, format!("{name} is not set")))
}

fn refused(sign_in: EntraSignIn, problem: String) -> ServiceError {
    ServiceError::SignIn { sign_in, problem, is_reachable: true }
}

fn unreachable(sign_in: EntraSignIn, problem: String) -> ServiceError {
    ServiceError::SignIn { sign_in, problem, is_reachable: false }
}

impl SignInFailed {
    fn new(sign_in: EntraSignIn, error: &azure_core::Error) -> SignInFailed {
        let mut cause = error;
        // The outer error has a link to a page for developers on a line of its own.
        while let Some(inner) = cause.source().and_then(|inner| inner.downcast_ref()) {
            cause = inner;
        }
        if let Some(NoResponse(problem)) = cause.source().and_then(|inner| inner.downcast_ref()) {
            return SignInFailed { error: unreachable(sign_in, problem.clone()), retryable: true };
        }
        let busy = |status: u16| status == 429 || status >= 500;
        let status = match cause.kind() {
            ErrorKind::HttpResponse { status, .. } => Some(u16::from(*status)),
            _ => None,
        };
        let text = cause.to_string();
        let line = text.lines().map(str::trim).find(|line| !line.is_empty());
        let problem = json::readable(line.unwrap_or("refused without a reason")).into_owned();
        match status.is_some_and(busy) {
            true => SignInFailed { error: unreachable(sign_in, problem), retryable: true },
            false => SignInFailed { error: refused(sign_in, problem), retryable: false },
        }
    }
}

/// A request for a token without a response.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NoResponse(String);

/// The transport of requests for tokens.
#[derive(Debug)]
struct Https(reqwest::Client);

impl HttpClient for Https {
    // Written out, as it saves the crate of the macro.
    fn execute_request<'client, 'request, 'future>(
        &'client self,
        request: &'request Request,
    ) -> Pin<Box<dyn Future<Output = azure_core::Result<AsyncRawResponse>> + Send + 'future>>
    where
        'client: 'future,
        'request: 'future,
        Self: 'future,
    {
        Box::pin(self.send(request))
    }
}

impl Https {
    async fn send(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let unusable =
            |problem: &'static str| azure_core::Error::with_message(ErrorKind::Other, problem);
        let method = reqwest::Method::from_str(request.method().as_ref());
        let method = method.map_err(|_| unusable("the method of a request is unknown"))?;
        let Body::Bytes(body) = request.body() else {
            return Err(unusable("the body of a request is a stream"));
        };
        let mut builder = self.0.request(method, request.url().as_str()).timeout(TOKEN_TIMEOUT);
        for (name, value) in request.headers().iter() {
            builder = builder.header(name.as_str(), value.as_str());
        }
        let no_response = |error: reqwest::Error| {
            let problem = format!("{}: {}", request.url().authority(), cause(&error).0);
            azure_core::Error::with_error(ErrorKind::Connection, NoResponse(problem), "no response")
        };
        let response = builder.body(body.to_vec()).send().await.map_err(no_response)?;
        let status: StatusCode = response.status();
        let body = response.bytes().await.map_err(no_response)?.to_vec();
        Ok(AsyncRawResponse::from_bytes(status.as_u16().into(), Headers::new(), body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(error: azure_core::Error) -> (String, bool) {
        let failed = SignInFailed::new(EntraSignIn::Environment, &error);
        (failed.error.to_string(), failed.retryable)
    }

    #[test]
    fn a_refusal_is_one_line() {
        let refused = azure_core::Error::with_message(
            ErrorKind::HttpResponse { status: 401.into(), error_code: None, raw_response: None },
            "AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1\r\nTimestamp: now",
        );
        let outer = azure_core::Error::with_error(ErrorKind::Credential, refused, "outer\nlink");
        let line = "sign-in by Microsoft Entra ID: AADSTS7000215: Invalid client secret provided.";
        assert_eq!(problem(outer), (line.to_owned(), false));
    }

    #[test]
    fn a_directory_without_a_response_is_asked_again() {
        let none = NoResponse("login.example: no route to host".to_owned());
        let none = azure_core::Error::with_error(ErrorKind::Connection, none, "no response");
        let line = "sign-in by Microsoft Entra ID: login.example: no route to host";
        assert_eq!(problem(none), (line.to_owned(), true));
        let busy = azure_core::Error::with_message(
            ErrorKind::HttpResponse { status: 503.into(), error_code: None, raw_response: None },
            "",
        );
        let line = "sign-in by Microsoft Entra ID: refused without a reason";
        assert_eq!(problem(busy), (line.to_owned(), true));
    }
}
