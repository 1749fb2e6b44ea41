//! A stand-in for Microsoft Entra ID: a directory with one application, which signs in with a
//! secret or with a federated token, and gets access tokens for this hub.
//!
//! [`Directory`] has no transport: `entra_api` serves it over HTTPS, and `policy` checks the
//! tokens of requests. The signing key lives as long as the process, so a restart of the hub
//! ends all tokens.
//!
//! Users, groups, roles, and applications with certificates are not supported.

mod error;
mod jwt;

use std::collections::BTreeMap;

use ring::error::Unspecified;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

pub(crate) use error::TokenError;
use jwt::{InvalidToken, SigningKey};

use crate::stamps::now_unix;

/// The id of the directory.
pub(crate) const TENANT_ID: &str = "b4f5a1c2-6c0e-4a7b-9a53-0d1f2e3c4b5a";

/// The id of the application.
pub(crate) const CLIENT_ID: &str = "5e9d2f10-3b7a-4c86-8f21-7a6b5c4d3e2f";

/// Lifetime of access tokens, in seconds, as in Azure.
const TOKEN_SECONDS: u64 = 3599;

/// Lifetime of the federated token, in seconds. The token takes the place of one that a cluster
/// renews.
const FEDERATED_SECONDS: u64 = 86_400;

/// Issuer of the federated token, in the place of a cluster.
const FEDERATED_ISSUER: &str = "https://cluster.behaviour-hub.example";

/// Subject of the federated token.
const FEDERATED_SUBJECT: &str = "system:serviceaccount:default:behaviour-service";

/// Audience of federated tokens, the same in every Azure cloud for the public.
const FEDERATED_AUDIENCE: &str = "api://AzureADTokenExchange";

/// Type of a client assertion (RFC 7523, section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A service that access tokens are meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Hub,
    Provisioning,
}

impl Resource {
    const ALL: [Resource; 2] = [Resource::Hub, Resource::Provisioning];

    /// Returns the name in scopes and in the audience of tokens.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Resource::Hub => "https://iothubs.azure.net",
            Resource::Provisioning => "https://azure-devices-provisioning.net",
        }
    }
}

/// A directory with one application.
pub struct Directory {
    key: SigningKey,
    secret: String,
}

/// An access token with its lifetime.
#[derive(Debug)]
pub(crate) struct AccessToken {
    pub(crate) text: String,
    pub(crate) seconds: u64,
}

/// Reason why an access token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AccessDenied {
    #[error(transparent)]
    Invalid(#[from] InvalidToken),
    #[error("the token is of the tenant `{0}`")]
    Tenant(String),
    #[error("the token is meant for `{0}`")]
    Audience(String),
    #[error("the token expired at {0}")]
    Expired(u64),
    #[error("the token is not valid before {0}")]
    TooEarly(u64),
}

impl Directory {
    /// Creates a directory whose application has this secret.
    pub(crate) fn new(secret: String) -> Result<Directory, Unspecified> {
        Ok(Directory { key: SigningKey::generate()?, secret })
    }

    /// Returns the id of the directory, as in `AZURE_TENANT_ID`.
    #[must_use]
    pub fn tenant_id(&self) -> &'static str {
        TENANT_ID
    }

    /// Returns the id of the application, as in `AZURE_CLIENT_ID`.
    #[must_use]
    pub fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    /// Returns the secret of the application, as in `AZURE_CLIENT_SECRET`. Must not be logged.
    #[must_use]
    pub fn client_secret(&self) -> &str {
        &self.secret
    }

    /// Returns the keys that sign tokens, as a JSON Web Key Set.
    pub(crate) fn public_keys(&self) -> Value {
        json!({ "keys": [self.key.public_key()] })
    }

    /// Returns a token with which the application signs in in place of its secret, like a pod
    /// with workload identity. It is valid for a day, and must not be logged.
    #[must_use]
    pub fn federated_token(&self) -> String {
        self.federated_token_at(now_unix())
    }

    fn federated_token_at(&self, now_unix: u64) -> String {
        self.signed(&json!({
            "iss": FEDERATED_ISSUER,
            "sub": FEDERATED_SUBJECT,
            "aud": [FEDERATED_AUDIENCE],
            "iat": now_unix,
            "nbf": now_unix,
            "exp": now_unix + FEDERATED_SECONDS,
        }))
    }

    /// Answers a request for an access token by its form. `authority` is the address of the
    /// directory.
    pub(crate) fn issue(
        &self,
        tenant: &str,
        form: &BTreeMap<String, String>,
        authority: &str,
        now_unix: u64,
    ) -> Result<AccessToken, TokenError> {
        if !tenant.eq_ignore_ascii_case(TENANT_ID) {
            return Err(TokenError::Tenant(json::readable(tenant).into_owned()));
        }
        let field = |name: &'static str| {
            let value = form.get(name).map(String::as_str).filter(|value| !value.is_empty());
            value.ok_or(TokenError::Parameter(name))
        };
        let grant = field("grant_type")?;
        if grant != "client_credentials" {
            return Err(TokenError::Grant(json::readable(grant).into_owned()));
        }
        let client = field("client_id")?;
        if !client.eq_ignore_ascii_case(CLIENT_ID) {
            return Err(TokenError::Client(json::readable(client).into_owned()));
        }
        self.check_credential(form, now_unix)?;
        let resource = resource(field("scope")?)?;
        let text = self.signed(&json!({
            "aud": resource.name(),
            "iss": format!("{authority}/{TENANT_ID}/v2.0"),
            "iat": now_unix,
            "nbf": now_unix,
            "exp": now_unix + TOKEN_SECONDS,
            "appid": CLIENT_ID,
            "oid": CLIENT_ID,
            "sub": CLIENT_ID,
            "tid": TENANT_ID,
            "ver": "1.0",
        }));
        Ok(AccessToken { text, seconds: TOKEN_SECONDS })
    }

    fn check_credential(
        &self,
        form: &BTreeMap<String, String>,
        now_unix: u64,
    ) -> Result<(), TokenError> {
        if let Some(secret) = form.get("client_secret") {
            let equal: bool = secret.as_bytes().ct_eq(self.secret.as_bytes()).into();
            return if equal { Ok(()) } else { Err(TokenError::Secret) };
        }
        let assertion = form.get("client_assertion").ok_or(TokenError::NoCredential)?;
        if form.get("client_assertion_type").map(String::as_str) != Some(ASSERTION_TYPE) {
            return Err(TokenError::Parameter("client_assertion_type"));
        }
        // A file with the token often ends with a newline.
        let claims = self.key.verify(assertion.trim());
        let claims = claims.map_err(|_| TokenError::AssertionSignature)?;
        if claims["iss"] != FEDERATED_ISSUER {
            return Err(TokenError::Federation("issuer"));
        }
        if claims["sub"] != FEDERATED_SUBJECT {
            return Err(TokenError::Federation("subject"));
        }
        if !has_audience(&claims, FEDERATED_AUDIENCE) {
            return Err(TokenError::Federation("audience"));
        }
        check_time(&claims, now_unix).map_err(|_| TokenError::AssertionTime)
    }

    /// Checks an access token: its signature, tenant, audience and time.
    pub(crate) fn check(
        &self,
        token: &str,
        resource: Resource,
        now_unix: u64,
    ) -> Result<(), AccessDenied> {
        let claims = self.key.verify(token)?;
        let text =
            |name: &str| json::readable(claims[name].as_str().unwrap_or_default()).into_owned();
        if claims["tid"] != TENANT_ID {
            return Err(AccessDenied::Tenant(text("tid")));
        }
        if !has_audience(&claims, resource.name()) {
            return Err(AccessDenied::Audience(text("aud")));
        }
        check_time(&claims, now_unix)
    }

    fn signed(&self, claims: &Value) -> String {
        self.key.sign(claims).expect("signing needs random numbers only, which the key had")
    }
}

/// Returns the resource of a scope. Clients may name it with a slash at its end, which doubles
/// the slash in the scope.
fn resource(scope: &str) -> Result<Resource, TokenError> {
    let readable = |text: &str| json::readable(text).into_owned();
    let name = scope.strip_suffix("/.default").ok_or_else(|| TokenError::Scope(readable(scope)))?;
    let known = |resource: &Resource| resource.name() == name.trim_end_matches('/');
    let found = Resource::ALL.into_iter().find(known);
    found.ok_or_else(|| TokenError::Resource(readable(name)))
}

fn has_audience(claims: &Value, audience: &str) -> bool {
    let is = |value: &Value| value.as_str().is_some_and(|it| it.trim_end_matches('/') == audience);
    match &claims["aud"] {
        Value::Array(several) => several.iter().any(is),
        one => is(one),
    }
}

fn check_time(claims: &Value, now_unix: u64) -> Result<(), AccessDenied> {
    let time = |name: &str| claims[name].as_u64().unwrap_or_default();
    match (time("nbf"), time("exp")) {
        (from, _) if now_unix < from => Err(AccessDenied::TooEarly(from)),
        (_, until) if until <= now_unix => Err(AccessDenied::Expired(until)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
