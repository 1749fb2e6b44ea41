//! Authorization at a registry: user name and password, or a token of a token server.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::{ACCEPT, HeaderValue};
use serde::Deserialize;

use super::Client;
use super::challenge::Challenge;
use super::endpoint::Endpoint;
use super::exchange::{BodyError, bounded, protocol};
use super::rights::Rights;
use crate::credentials::Credential;
use crate::{SourceError, strict};

/// Lifetime of a token whose answer has none (token authentication specification).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(60);

/// Maximum time for which a token is used, a bound for wrong answers.
const MAX_LIFETIME: Duration = Duration::from_secs(3600);

/// Time before the end of a token from which it is not used.
const MARGIN: Duration = Duration::from_secs(10);

/// Maximum length of an answer with a token, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Maximum number of remembered authorizations.
const MAX_REMEMBERED: usize = 256;

/// Name of this program at a token server.
const CLIENT_ID: &str = "behaviour";

/// The authorizations in use, each until its end.
#[derive(Default)]
pub(super) struct Authorizations(HashMap<(Endpoint, Rights), (HeaderValue, Option<Instant>)>);

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Client {
    pub(super) fn cached_authorization(
        &self,
        endpoint: &Endpoint,
        rights: &Rights,
    ) -> Option<HeaderValue> {
        let authorizations = self.shared.authorizations.lock();
        let (header, until) = authorizations.0.get(&(endpoint.clone(), rights.clone()))?;
        until.is_none_or(|until| Instant::now() < until).then(|| header.clone())
    }

    pub(super) fn forget_authorization(&self, endpoint: &Endpoint, rights: &Rights) {
        self.shared.authorizations.lock().0.remove(&(endpoint.clone(), rights.clone()));
    }

    /// Answers the challenges of a registry. Returns `None` if it has no credentials for any.
    pub(super) async fn authorize(
        &self,
        endpoint: &Endpoint,
        rights: &Rights,
        challenges: &[Challenge],
    ) -> Result<Option<HeaderValue>, SourceError> {
        let credential = match &self.shared.settings.credentials {
            Some(store) => store.find(&endpoint.name).await?,
            None => None,
        };
        let bearer = challenges.iter().find(|it| matches!(it, Challenge::Bearer { .. }));
        let has_basic = challenges.contains(&Challenge::Basic);
        let (header, until) = match (bearer, credential) {
            (Some(Challenge::Bearer { realm, service, scope }), credential) => {
                let query = TokenQuery { realm, service, scope: scope.as_deref(), rights };
                self.token(endpoint, &query, credential.as_ref()).await?
            }
            (_, Some(Credential::Password { user, password })) if has_basic => {
                (header(endpoint, "Basic ", &STANDARD.encode(format!("{user}:{password}")))?, None)
            }
            _ => return Ok(None),
        };
        let mut authorizations = self.shared.authorizations.lock();
        if authorizations.0.len() >= MAX_REMEMBERED {
            authorizations.0.clear();
        }
        authorizations.0.insert((endpoint.clone(), rights.clone()), (header.clone(), until));
        Ok(Some(header))
    }

    /// Asks a token server for a token.
    async fn token(
        &self,
        endpoint: &Endpoint,
        query: &TokenQuery<'_>,
        credential: Option<&Credential>,
    ) -> Result<(HeaderValue, Option<Instant>), SourceError> {
        let url = query.url(endpoint)?;
        let request = match credential {
            Some(Credential::IdentityToken(token)) => {
                let form = query.form(token);
                let response = self
                    .shared
                    .http
                    .post(url.clone())
                    .body(form)
                    .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded");
                let response = self.token_response(endpoint, response).await?;
                // A server without this form takes the token as a password.
                if !matches!(response.status().as_u16(), 404 | 405) {
                    return self.read_token(endpoint, response).await;
                }
                self.shared.http.get(query.full(endpoint)?).basic_auth("<token>", Some(token))
            }
            Some(Credential::Password { user, password }) => {
                self.shared.http.get(query.full(endpoint)?).basic_auth(user, Some(password))
            }
            None => self.shared.http.get(query.full(endpoint)?),
        };
        let response = self.token_response(endpoint, request).await?;
        if matches!(response.status().as_u16(), 400 | 401 | 403) {
            let registry = endpoint.name.clone();
            return Err(SourceError::Unauthorized { registry, known: credential.is_some() });
        }
        self.read_token(endpoint, response).await
    }

    async fn token_response(
        &self,
        endpoint: &Endpoint,
        request: reqwest::RequestBuilder,
    ) -> Result<reqwest::Response, SourceError> {
        let request = request.header(ACCEPT, "application/json");
        let request = request.timeout(self.shared.settings.timeout);
        let sent = request.send().await;
        let name = || format!("the token server of {}", endpoint.name);
        sent.map_err(|error| self.failure(&name(), &error))
    }

    async fn read_token(
        &self,
        endpoint: &Endpoint,
        response: reqwest::Response,
    ) -> Result<(HeaderValue, Option<Instant>), SourceError> {
        let name = format!("the token server of {}", endpoint.name);
        let status = response.status();
        if matches!(status.as_u16(), 401 | 403) {
            return Err(SourceError::Unauthorized { registry: endpoint.name.clone(), known: true });
        }
        if status.is_server_error() || status.as_u16() == 429 {
            let reason = format!("status {}", status.as_u16());
            return Err(SourceError::Unavailable { registry: name, reason });
        }
        if !status.is_success() {
            let problem = format!("answers with status {}", status.as_u16());
            return Err(SourceError::Protocol { registry: name, problem });
        }
        let malformed = || SourceError::Protocol {
            registry: name.clone(),
            problem: "sends no token".to_owned(),
        };
        let body = bounded(response, MAX_ANSWER).await.map_err(|error| match error {
            BodyError::Failed(error) => self.failure(&name, &error),
            BodyError::TooLong(_) => malformed(),
        })?;
        // The message must not quote the answer, which may contain a token.
        let answer: TokenAnswer = strict::object(&body, MAX_ANSWER).map_err(|_| malformed())?;
        let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
        let lifetime = answer.expires_in.map_or(DEFAULT_LIFETIME, Duration::from_secs);
        let until = Instant::now() + lifetime.min(MAX_LIFETIME).saturating_sub(MARGIN);
        Ok((header(endpoint, "Bearer ", &token.ok_or_else(malformed)?)?, Some(until)))
    }
}

/// A request for a token.
struct TokenQuery<'a> {
    realm: &'a str,
    service: &'a Option<String>,
    scope: Option<&'a str>,
    rights: &'a Rights,
}

impl TokenQuery<'_> {
    fn url(&self, endpoint: &Endpoint) -> Result<Url, SourceError> {
        let malformed = || protocol(endpoint, "names a malformed token server");
        self.realm.parse().map_err(|_| malformed())
    }

    /// Returns the rights: those that the challenge names, and those that the request needs.
    fn scopes(&self) -> Vec<String> {
        let own = self.rights.scope();
        match self.scope {
            Some(scope) if scope != own && !scope.is_empty() => vec![own, scope.to_owned()],
            _ => vec![own],
        }
    }

    /// Returns the URL with service and scope.
    fn full(&self, endpoint: &Endpoint) -> Result<Url, SourceError> {
        let mut url = self.url(endpoint)?;
        {
            let mut pairs = url.query_pairs_mut();
            if let Some(service) = self.service {
                pairs.append_pair("service", service);
            }
            for scope in self.scopes() {
                pairs.append_pair("scope", &scope);
            }
        }
        Ok(url)
    }

    /// Returns the form that exchanges an identity token.
    fn form(&self, token: &str) -> String {
        let mut url: Url = "http://localhost/".parse().expect("a constant URL is valid");
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("grant_type", "refresh_token");
            pairs.append_pair("refresh_token", token);
            pairs.append_pair("client_id", CLIENT_ID);
            if let Some(service) = self.service {
                pairs.append_pair("service", service);
            }
            pairs.append_pair("scope", &self.scopes().join(" "));
        }
        url.query().unwrap_or_default().to_owned()
    }
}

/// Returns a header that is not printed in logs.
fn header(endpoint: &Endpoint, scheme: &str, value: &str) -> Result<HeaderValue, SourceError> {
    let mut header = HeaderValue::try_from(format!("{scheme}{value}"))
        .map_err(|_| protocol(endpoint, "sends a token with invalid characters"))?;
    header.set_sensitive(true);
    Ok(header)
}
