//! Shared access signatures: the tokens that authenticate devices and services.
//!
//! ```text
//! SharedAccessSignature sr={resource}&sig={signature}&se={unix seconds}[&skn={policy}]
//! signature = base64(HMAC-SHA256(key, resource + "\n" + expiry))
//! ```
//!
//! Clients differ in how they percent-encode the resource, and they sign its encoded
//! form. Therefore the value of `sr` is kept unchanged for the signature, and decoded
//! only for comparisons.
//!
//! `Debug` prints neither keys nor signatures.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::host_name::HostName;
use crate::percent;
use crate::provisioning::{IdScope, RegistrationId, resource};

const SCHEME: &str = "SharedAccessSignature";

/// A shared access key of 1 to 128 bytes, represented as base64.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// A malformed key. The message never quotes the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A string that is not base64 with padding.
    #[error("key is not base64")]
    NotBase64,
    /// A length outside the limits, in bytes.
    #[error("key has {0} bytes; 1 to 128 are allowed")]
    Length(usize),
}

impl Key {
    /// Creates a key from its bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Key, KeyError> {
        match bytes.len() {
            1..=128 => Ok(Key(bytes.to_vec())),
            length => Err(KeyError::Length(length)),
        }
    }

    /// Returns the key as base64, as in a connection string. Must not be logged.
    #[must_use]
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0)
    }

    /// Returns the size of the key, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.len()
    }

    /// Returns the key of a device of an enrollment group, whose key this is (documentation of
    /// the Device Provisioning Service, "Symmetric key attestation").
    #[must_use]
    pub fn derive(&self, registration: &RegistrationId) -> Key {
        Key(self.mac(&[registration.as_str()]).to_vec())
    }

    fn sign(&self, resource: &str, expiry: u64) -> [u8; 32] {
        self.mac(&[resource, "\n", &expiry.to_string()])
    }

    fn mac(&self, parts: &[&str]) -> [u8; 32] {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        parts.iter().for_each(|part| mac.update(part.as_bytes()));
        mac.finalize().into_bytes().into()
    }
}

impl FromStr for Key {
    type Err = KeyError;
    fn from_str(text: &str) -> Result<Key, KeyError> {
        Key::from_bytes(&STANDARD.decode(text.trim()).map_err(|_| KeyError::NotBase64)?)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A shared access signature.
#[derive(Clone, PartialEq, Eq)]
pub struct SasToken {
    /// The value of `sr`, still encoded.
    raw_resource: String,
    signature: Vec<u8>,
    expiry: u64,
    policy: Option<String>,
}

/// A malformed token. The message never quotes the token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SasError {
    /// A scheme that is missing or not `SharedAccessSignature`.
    #[error("token does not begin with `SharedAccessSignature `")]
    Scheme,
    /// A required field that is missing.
    #[error("token has no `{0}`")]
    Missing(&'static str),
    /// A repeated field.
    #[error("token has `{0}` twice")]
    Duplicate(&'static str),
    /// A field with a malformed value.
    #[error("token has a malformed `{0}`")]
    Malformed(&'static str),
}

/// Returns a signed token for `resource`, which must not be encoded
/// (`hub.example/devices/d1`). `expiry` is in Unix seconds. `policy` is the name of the
/// shared access policy that owns the key; `None` for the key of a device.
#[must_use]
pub fn sign(resource: &str, policy: Option<&str>, key: &Key, expiry: u64) -> SasToken {
    let raw_resource = percent::encode(resource).to_string();
    let signature = key.sign(&raw_resource, expiry).to_vec();
    SasToken { raw_resource, signature, expiry, policy: policy.map(str::to_owned) }
}

impl SasToken {
    /// Returns `true` if the token was signed with this key. Takes constant time.
    #[must_use]
    pub fn verify(&self, key: &Key) -> bool {
        key.sign(&self.raw_resource, self.expiry).ct_eq(self.signature.as_slice()).into()
    }

    /// Returns `true` if the token's resource is `resource` or one of its parents, in
    /// whole path segments. `resource` must not be encoded. The case and the port of the
    /// host are ignored.
    #[must_use]
    pub fn covers(&self, resource: &str) -> bool {
        let Some(own) = percent::decode(&self.raw_resource) else { return false };
        let (own_host, own_path) = split_host(&own);
        let (host, path) = split_host(resource);
        let same_host = match (own_host.parse::<HostName>(), host.parse::<HostName>()) {
            (Ok(own), Ok(other)) => own.matches(&other),
            _ => false,
        };
        same_host && covers_path(own_path, path)
    }

    /// Returns `true` if the token's resource is the registration of this device at the Device
    /// Provisioning Service. Case is ignored: the documentation asks for lower case, and no
    /// official client uses it.
    #[must_use]
    pub fn covers_registration(&self, scope: &IdScope, registration: &RegistrationId) -> bool {
        let own = percent::decode(&self.raw_resource);
        own.is_some_and(|own| own.eq_ignore_ascii_case(&resource(scope, registration)))
    }

    /// Returns the time of expiry, in Unix seconds.
    #[must_use]
    pub fn expiry(&self) -> u64 {
        self.expiry
    }

    /// Returns `true` if the token has expired at `now`, in Unix seconds.
    #[must_use]
    pub fn expired_at(&self, now: u64) -> bool {
        self.expiry <= now
    }

    /// Returns the name of the policy that owns the key; `None` for the key of a device.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }
}

/// Splits a resource into its host and its path. The path begins with a slash.
fn split_host(resource: &str) -> (&str, &str) {
    match resource.find('/') {
        Some(at) => resource.split_at(at),
        None => (resource, ""),
    }
}

/// Returns `true` if the segments of `resource` are the first segments of `path`.
///
/// A segment may be encoded twice, since the .NET SDK encodes ids before it encodes the
/// whole resource. A trailing API version is ignored: Microsoft's documentation of MQTT
/// shows tokens with it.
fn covers_path(resource: &str, path: &str) -> bool {
    let resource = resource.trim_end_matches('/');
    let resource = match resource.rsplit_once('/') {
        Some((before, last)) if last.starts_with("api-version=") => before,
        _ => resource,
    };
    let mut segments = path.split('/');
    resource.split('/').all(|resource| {
        segments.next().is_some_and(|segment| {
            resource == segment
                || percent::decode(resource).is_some_and(|decoded| decoded == segment)
        })
    })
}

impl FromStr for SasToken {
    type Err = SasError;

    fn from_str(text: &str) -> Result<SasToken, SasError> {
        let fields = text
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or(SasError::Scheme)?;
        let (mut sr, mut sig, mut se, mut skn) = (None, None, None, None);
        for field in fields.trim_start().split('&') {
            let Some((name, value)) = field.split_once('=') else { continue };
            let (name, slot) = match name {
                "sr" => ("sr", &mut sr),
                "sig" => ("sig", &mut sig),
                "se" => ("se", &mut se),
                "skn" => ("skn", &mut skn),
                _ => continue,
            };
            if slot.replace(value).is_some() {
                return Err(SasError::Duplicate(name));
            }
        }
        let signature = percent::decode(sig.ok_or(SasError::Missing("sig"))?)
            .and_then(|text| STANDARD.decode(text.as_bytes()).ok())
            .ok_or(SasError::Malformed("sig"))?;
        let expiry =
            se.ok_or(SasError::Missing("se"))?.parse().map_err(|_| SasError::Malformed("se"))?;
        let policy = match skn {
            None | Some("") => None,
            Some(name) => {
                Some(percent::decode(name).ok_or(SasError::Malformed("skn"))?.into_owned())
            }
        };
        let raw_resource = sr.ok_or(SasError::Missing("sr"))?.to_owned();
        Ok(SasToken { raw_resource, signature, expiry, policy })
    }
}

impl fmt::Display for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signature = STANDARD.encode(&self.signature);
        write!(f, "{SCHEME} sr={}", self.raw_resource)?;
        write!(f, "&sig={}&se={}", percent::encode(&signature), self.expiry)?;
        match &self.policy {
            Some(policy) => write!(f, "&skn={}", percent::encode(policy)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for SasToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SasToken({}, expires {}, …)", self.raw_resource, self.expiry)
    }
}

#[cfg(test)]
mod tests;
