//! Refused requests for tokens, with the codes of Microsoft Entra ID.

use serde_json::{Value, json};

use crate::stamps::{guid, now};

/// Reason why the directory issues no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("Tenant '{0}' not found. Check to make sure you have the correct tenant ID.")]
    Tenant(String),
    #[error("The request body must contain the following parameter: '{0}'.")]
    Parameter(&'static str),
    #[error("The app requested an unsupported grant type '{0}'.")]
    Grant(String),
    #[error("Application with identifier '{0}' was not found in the directory.")]
    Client(String),
    #[error(
        "The 'client_assertion' or 'client_secret' parameter is required for the \
         'client_credentials' grant type."
    )]
    NoCredential,
    #[error("Invalid client secret provided.")]
    Secret,
    #[error("Client assertion is not within its valid time range.")]
    AssertionTime,
    #[error("Client assertion failed signature validation.")]
    AssertionSignature,
    #[error("No matching federated identity record found for presented assertion {0}.")]
    Federation(&'static str),
    #[error("The provided value for scope '{0}' is not valid. It must end with '/.default'.")]
    Scope(String),
    #[error("The resource principal named '{0}' was not found in the tenant.")]
    Resource(String),
}

impl TokenError {
    /// Returns the HTTP status of the answer.
    pub(crate) fn http_status(&self) -> u16 {
        match self.oauth() {
            "invalid_client" => 401,
            _ => 400,
        }
    }

    /// Returns the body of the answer.
    pub(crate) fn to_body(&self) -> Value {
        let code = self.code();
        json!({
            "error": self.oauth(),
            "error_description": format!("AADSTS{code}: {self}"),
            "error_codes": [code],
            "timestamp": now(),
            "trace_id": guid(),
            "correlation_id": guid(),
        })
    }

    /// Returns the code in the documentation of Microsoft Entra ID.
    pub(super) fn code(&self) -> u32 {
        match self {
            TokenError::Tenant(_) => 90_002,
            TokenError::Parameter(_) => 900_144,
            TokenError::Grant(_) => 70_003,
            TokenError::Client(_) => 700_016,
            TokenError::NoCredential => 7_000_216,
            TokenError::Secret => 7_000_215,
            TokenError::AssertionTime => 700_024,
            TokenError::AssertionSignature => 700_027,
            TokenError::Federation(_) => 700_213,
            TokenError::Scope(_) => 70_011,
            TokenError::Resource(_) => 500_011,
        }
    }

    /// Returns the code in RFC 6749, section 5.2.
    fn oauth(&self) -> &'static str {
        match self {
            TokenError::Tenant(_) | TokenError::Parameter(_) => "invalid_request",
            TokenError::Grant(_) => "unsupported_grant_type",
            TokenError::Client(_) => "unauthorized_client",
            TokenError::NoCredential
            | TokenError::Secret
            | TokenError::AssertionTime
            | TokenError::AssertionSignature
            | TokenError::Federation(_) => "invalid_client",
            TokenError::Scope(_) => "invalid_scope",
            TokenError::Resource(_) => "invalid_resource",
        }
    }
}
