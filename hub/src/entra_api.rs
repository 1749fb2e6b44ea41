//! The stand-in for Microsoft Entra ID over HTTPS: metadata, keys and tokens.
//!
//! It shares the hub's ports. [`serve`] is a layer over the other APIs, which get all other
//! paths. The address of the directory is that of the request, so that clients can use any name
//! of the hub.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State as Extract};
use axum::http::header::{CACHE_CONTROL, HOST};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use axum::{Json, body::Bytes};
use protocol::rest;
use serde_json::{Value, json};
use tracing::info;

use crate::body;
use crate::entra::{AccessToken, Directory, TENANT_ID, TokenError};
use crate::stamps::now_unix;
use crate::state::State;

/// Serves a request if it is one for the directory.
pub(crate) async fn serve(
    Extract(state): Extract<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    let Some((tenant, call)) = DirectoryCall::parse(request.uri().path()) else {
        return next.run(request).await;
    };
    let authority = authority(&request);
    let directory = state.policies().directory();
    let answered = match (call, request.method()) {
        (DirectoryCall::Token, &Method::POST) => match body::read(request.into_body()).await {
            Ok(body) => token(directory, &tenant, &body, &authority),
            Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        },
        (DirectoryCall::Metadata, &Method::GET) => of_tenant(tenant).map(|()| metadata(&authority)),
        (DirectoryCall::Keys, &Method::GET) => of_tenant(tenant).map(|()| directory.public_keys()),
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    match answered {
        Ok(answer) => ([(CACHE_CONTROL, "no-store")], Json(answer)).into_response(),
        Err(error) => {
            info!(reason = %error, "token refused");
            let status = StatusCode::from_u16(error.http_status());
            (status.unwrap_or(StatusCode::BAD_REQUEST), Json(error.to_body())).into_response()
        }
    }
}

/// Requests a token with a form. For fuzzing only.
pub(crate) fn request_token(directory: &Directory, form: &str) {
    drop(token(
        directory,
        TENANT_ID,
        &Bytes::copy_from_slice(form.as_bytes()),
        "https://localhost",
    ));
}

/// A request for the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DirectoryCall {
    /// OpenID Connect Discovery 1.0, section 4.
    Metadata,
    /// The JSON Web Key Set.
    Keys,
    /// The token endpoint (RFC 6749, section 3.2).
    Token,
}

impl DirectoryCall {
    /// Parses a path. Returns the tenant with the call.
    fn parse(path: &str) -> Option<(String, DirectoryCall)> {
        let (tenant, rest) = path.strip_prefix('/')?.split_once('/')?;
        let call = match rest {
            "v2.0/.well-known/openid-configuration" => DirectoryCall::Metadata,
            "discovery/v2.0/keys" => DirectoryCall::Keys,
            "oauth2/v2.0/token" => DirectoryCall::Token,
            _ => return None,
        };
        Some((rest::decoded(tenant)?, call))
    }
}

/// Returns the address of the directory, as the client has named it.
fn authority(request: &Request) -> String {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    format!("https://{}", host.unwrap_or("localhost"))
}

fn of_tenant(tenant: String) -> Result<(), TokenError> {
    match tenant.eq_ignore_ascii_case(TENANT_ID) {
        true => Ok(()),
        false => Err(TokenError::Tenant(json::readable(&tenant).into_owned())),
    }
}

fn metadata(authority: &str) -> Value {
    let of_tenant = format!("{authority}/{TENANT_ID}");
    json!({
        "issuer": format!("{of_tenant}/v2.0"),
        "authorization_endpoint": format!("{of_tenant}/oauth2/v2.0/authorize"),
        "token_endpoint": format!("{of_tenant}/oauth2/v2.0/token"),
        "jwks_uri": format!("{of_tenant}/discovery/v2.0/keys"),
        "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
        "response_types_supported": ["code"],
        "subject_types_supported": ["pairwise"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

fn token(
    directory: &Directory,
    tenant: &str,
    body: &Bytes,
    authority: &str,
) -> Result<Value, TokenError> {
    let form = form(&String::from_utf8_lossy(body));
    let AccessToken { text, seconds } = directory.issue(tenant, &form, authority, now_unix())?;
    Ok(json!({
        "token_type": "Bearer",
        "expires_in": seconds,
        "ext_expires_in": seconds,
        "access_token": text,
    }))
}

/// Parses a form. Fields that are not UTF-8 are left out.
fn form(body: &str) -> BTreeMap<String, String> {
    let decoded = |text: &str| rest::decoded(&text.replace('+', " "));
    let fields = body.split('&').filter_map(|field| field.split_once('='));
    fields.filter_map(|(name, value)| Some((decoded(name)?, decoded(value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_the_directory_are_calls() {
        let token = DirectoryCall::parse("/t%2D1/oauth2/v2.0/token");
        assert_eq!(token, Some(("t-1".to_owned(), DirectoryCall::Token)));
        for path in ["/", "/devices/query", "/twins/d1/methods", "/oauth2/v2.0/token", "/t/keys"] {
            assert_eq!(DirectoryCall::parse(path), None, "{path}");
        }
    }

    #[test]
    fn a_form_is_decoded() {
        let form = form("scope=https%3A%2F%2Fa%2F.default&client_secret=a%2Bb+c&broken&d=%FF");
        assert_eq!(form["scope"], "https://a/.default");
        assert_eq!(form["client_secret"], "a+b c");
        assert_eq!(form.len(), 2);
    }
}
