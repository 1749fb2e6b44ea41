//! Requests of a device for its next certificate, over its session with the hub.
//!
//! ```text
//! user name     …/?api-version=2025-08-01-preview&…
//! subscribe     $iothub/credentials/res/#
//! device → hub  $iothub/credentials/POST/issueCertificate/?$rid={rid}   CertificateRequest
//! hub → device  $iothub/credentials/res/202/?$rid={rid}                 CertificatePending
//!               $iothub/credentials/res/200/?$rid={rid}                 IssuedCertificate
//!               $iothub/credentials/res/{status}/?$rid={rid}            CredentialError
//! ```
//!
//! A device has one request at a time. Its answer outlives the connection: the hub sends it to
//! the next one that subscribes.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{IdError, RequestId, check, forbidden};

/// The first API version of MQTT user names with these topics.
pub const API_VERSION: &str = "2025-08-01-preview";

/// Maximum size of a request, in bytes.
pub const MAX_REQUEST_BYTES: usize = 8 * 1024;

/// Maximum number of certificates in a chain, as in the official C SDK.
pub const MAX_CHAIN: usize = 6;

/// The length of a date in an API version.
const DATE_LENGTH: usize = 10;

/// Returns `true` if a session with this API version has the topics for certificates.
#[must_use]
pub fn is_supported_by(api_version: &str) -> bool {
    let date = |version: &str| version.get(..DATE_LENGTH).map(str::to_owned);
    date(api_version).is_some_and(|version| Some(version) >= date(API_VERSION))
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateRequest {
    /// The id of the device.
    pub id: String,
    /// The certificate signing request: PKCS #10 as DER in base64, without line breaks.
    pub csr: String,
    /// The earlier request that this one replaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<Replace>,
}

/// The earlier request that another one replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Replace {
    /// Any pending request.
    Any,
    /// The pending request with this id.
    Request(CredentialRid),
}

/// The request id of a request for a certificate: 4 to 36 letters, digits and inner dashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialRid(RequestId);

impl CredentialRid {
    const KIND: &str = "request id";
    const MIN: usize = 4;
    const MAX: usize = 36;

    /// Returns the id as one of a topic.
    #[must_use]
    pub fn as_request_id(&self) -> &RequestId {
        &self.0
    }
}

impl FromStr for CredentialRid {
    type Err = IdError;

    fn from_str(text: &str) -> Result<CredentialRid, IdError> {
        check(Self::KIND, text, Self::MAX, |c| c.is_ascii_alphanumeric() || c == '-')?;
        if text.starts_with('-') || text.ends_with('-') {
            return Err(forbidden(Self::KIND, text, '-'));
        }
        let (kind, length, min) = (Self::KIND, text.len(), Self::MIN);
        if length < min {
            return Err(IdError::TooShort { kind, length, min });
        }
        text.parse().map(CredentialRid)
    }
}

impl TryFrom<RequestId> for CredentialRid {
    type Error = IdError;

    fn try_from(rid: RequestId) -> Result<CredentialRid, IdError> {
        rid.as_str().parse()
    }
}

impl TryFrom<String> for Replace {
    type Error = IdError;

    fn try_from(text: String) -> Result<Replace, IdError> {
        match text.as_str() {
            "*" => Ok(Replace::Any),
            rid => rid.parse().map(Replace::Request),
        }
    }
}

impl From<Replace> for String {
    fn from(replace: Replace) -> String {
        match replace {
            Replace::Any => "*".to_owned(),
            Replace::Request(rid) => rid.0.into(),
        }
    }
}

/// The body of the answer 202: the request is accepted, and another answer follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificatePending {
    /// The id that all answers to the request share.
    pub correlation_id: String,
    /// The time at which the hub gives up the request, in RFC 3339.
    pub operation_expires: String,
}

/// The body of the answer 200.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedCertificate {
    /// The id that all answers to the request share.
    pub correlation_id: String,
    /// The certificate, followed by those of its authorities: each is DER in base64, or PEM.
    pub certificates: Vec<String>,
}

/// A chain of certificates that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An empty chain.
    #[error("no certificate")]
    Empty,
    /// A chain that is longer than [`MAX_CHAIN`].
    #[error("more than {MAX_CHAIN} certificates")]
    TooLong,
    /// A text that is neither base64 nor PEM.
    #[error("a certificate that is neither base64 nor PEM")]
    Encoding,
}

/// Decodes a chain of certificates, each DER in base64, or PEM. Returns them as DER.
pub fn decode_chain(certificates: &[String]) -> Result<Vec<Vec<u8>>, ChainError> {
    match certificates.len() {
        0 => return Err(ChainError::Empty),
        1..=MAX_CHAIN => {}
        _ => return Err(ChainError::TooLong),
    }
    let decoded = certificates.iter().map(|text| {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        STANDARD.decode(lines.collect::<String>()).ok().filter(|der| !der.is_empty())
    });
    decoded.collect::<Option<_>>().ok_or(ChainError::Encoding)
}

/// The body of every other answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CredentialError {
    /// The number of the error, whose first three digits are the status.
    pub error_code: u32,
    /// The message.
    #[serde(default)]
    pub message: String,
    /// The id of the answer in the log of the hub.
    #[serde(default)]
    pub tracking_id: String,
    /// The time of the error, in RFC 3339.
    #[serde(default)]
    pub timestamp_utc: String,
    /// Details, such as the pending request of a conflict.
    #[serde(default)]
    pub info: Option<Value>,
    /// Number of seconds to wait before the next request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", json::excerpt(&self.message, 200), self.error_code)
    }
}

/// A documented or measured code of a [`CredentialError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialErrorCode {
    /// A member that is missing, unknown or not valid.
    ArgumentInvalid,
    /// A body that is not JSON.
    Format,
    /// A signing request that cannot be verified.
    SigningRequest,
    /// A hub without this feature.
    Unavailable,
    /// Another request that is in progress.
    Conflict,
    /// No request to replace.
    NothingToReplace,
    /// A device that no authority issues certificates for.
    NoAuthority,
    /// Too many requests.
    Throttled,
    /// A hub that is temporarily busy.
    Busy,
}

use CredentialErrorCode as Code;

impl CredentialErrorCode {
    /// Returns the number in [`CredentialError::error_code`].
    #[must_use]
    pub fn number(self) -> u32 {
        match self {
            Code::ArgumentInvalid => 400_004,
            Code::Format => 400_006,
            Code::SigningRequest => 400_037,
            Code::Unavailable => 403_010,
            Code::Conflict => 409_004,
            Code::NothingToReplace => 412_001,
            Code::NoAuthority => 412_005,
            Code::Throttled => 429_002,
            Code::Busy => 503_001,
        }
    }

    /// Returns the status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        u16::try_from(self.number() / 1000).expect("codes have six digits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_what_it_replaces_and_has_no_other_members() {
        let text = r#"{"id":"d1","csr":"MIIB","replace":"*"}"#;
        let request: CertificateRequest = serde_json::from_str(text).unwrap();
        assert_eq!(request.replace, Some(Replace::Any));
        assert_eq!(serde_json::to_string(&request).unwrap(), text);
        let one = text.replace('*', "20260131");
        let request: CertificateRequest = serde_json::from_str(&one).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), one);
        for bad in ["-abcd", "abcd-", "abc", "a_bcd", &"a".repeat(37), "**"] {
            let text = text.replace('*', bad);
            assert!(serde_json::from_str::<CertificateRequest>(&text).is_err(), "{bad}");
        }
        let more = text.replace("}", r#","more":1}"#);
        assert!(serde_json::from_str::<CertificateRequest>(&more).is_err());
    }

    #[test]
    fn a_recorded_error_is_parsed_and_survives_a_round_trip() {
        let text = r#"{"errorCode":409004,"message":"Another request is active","trackingId":"x","timestampUtc":"2026-01-30T10:00:00Z","info":{"requestId":"abcd"},"retryAfter":3}"#;
        let error: CredentialError = serde_json::from_str(text).unwrap();
        assert_eq!(error.error_code, Code::Conflict.number());
        assert_eq!(serde_json::to_string(&error).unwrap(), text);
        assert_eq!(error.to_string(), "Another request is active (409004)");
        assert_eq!(Code::SigningRequest.status(), 400);
        let short: CredentialError = serde_json::from_str(r#"{"errorCode":503102}"#).unwrap();
        assert_eq!(short.info, None);
    }

    #[test]
    fn a_chain_is_decoded_from_base64_and_from_pem() {
        let decode = |texts: &[&str]| {
            decode_chain(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let pem = "-----BEGIN CERTIFICATE-----\r\nAQ\r\nID\r\n-----END CERTIFICATE-----\r\n";
        assert_eq!(decode(&["AQID", pem]), Ok(vec![vec![1, 2, 3]; 2]));
        assert_eq!(decode(&[]), Err(ChainError::Empty));
        assert_eq!(decode(&["AQID"; MAX_CHAIN + 1]), Err(ChainError::TooLong));
        for bad in ["", "-----BEGIN CERTIFICATE-----", "A", "*"] {
            assert_eq!(decode(&[bad]), Err(ChainError::Encoding), "{bad}");
        }
    }

    #[test]
    fn only_sessions_of_newer_versions_have_the_topics() {
        for (version, expected) in [
            (API_VERSION, true),
            ("2026-11-01", true),
            ("2021-04-12", false),
            ("2025-07-01-preview", false),
            ("", false),
            ("é025-08-01", true),
        ] {
            assert_eq!(is_supported_by(version), expected, "{version}");
        }
    }
}
