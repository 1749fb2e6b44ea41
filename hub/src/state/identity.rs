//! The identity of a device or module: its status and keys.

use std::fmt;

use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;
use protocol::registry::{DeviceStatus, SymmetricKeys, Thumbprints};
use protocol::sas::Key;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::etag;
use super::random::random_bytes;
use super::scopes::{self, ScopesRequest};
use crate::stamps::now;

/// The persisted identity of a device or module.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Random number that distinguishes the identity from a deleted one with the same id.
    pub(super) generation: String,
    pub(super) etag: u32,
    pub(super) status: DeviceStatus,
    pub(super) status_reason: Option<String>,
    pub(super) status_updated: Option<String>,
    pub(super) authentication: Authentication,
    pub(super) iot_edge: bool,
    /// The scope of the parent, an edge device.
    #[serde(default)]
    pub(super) parent_scope: Option<String>,
    pub(super) managed_by: Option<String>,
}

/// The credentials of an identity.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Authentication {
    pub(super) kind: AuthenticationKind,
    pub(super) primary: KeyText,
    pub(super) secondary: KeyText,
    pub(super) thumbprints: Thumbprints,
}

/// The kind of credentials (documentation of IoT Hub, "Identity registry").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum AuthenticationKind {
    Sas,
    SelfSigned,
    CertificateAuthority,
    None,
}

/// A key that is persisted as base64 and hidden by `Debug`.
#[derive(Clone)]
pub(super) struct KeyText(pub(super) Key);

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyText(..)")
    }
}

impl Serialize for KeyText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_base64())
    }
}

impl<'de> Deserialize<'de> for KeyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyText, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(KeyText).map_err(serde::de::Error::custom)
    }
}

/// The identity in a request. Missing members stay unchanged.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct IdentityRequest {
    pub(crate) device_id: Option<String>,
    pub(crate) module_id: Option<String>,
    status: Option<DeviceStatus>,
    status_reason: Option<String>,
    authentication: Option<AuthenticationRequest>,
    capabilities: Option<Capabilities>,
    managed_by: Option<String>,
    #[serde(flatten)]
    scopes: ScopesRequest,
}

impl IdentityRequest {
    /// Returns a request that disables a device.
    pub(super) fn disabled() -> IdentityRequest {
        IdentityRequest { status: Some(DeviceStatus::Disabled), ..IdentityRequest::default() }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AuthenticationRequest {
    #[serde(rename = "type")]
    kind: Option<AuthenticationKind>,
    symmetric_key: Option<SymmetricKeys>,
    x509_thumbprint: Option<Thumbprints>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Capabilities {
    iot_edge: bool,
}

impl Identity {
    /// Creates an identity. Generates missing and empty keys.
    pub(super) fn new(request: &IdentityRequest) -> Result<Identity, HubError> {
        let default = Identity {
            generation: generation()?,
            etag: 0,
            status: DeviceStatus::Enabled,
            status_reason: None,
            status_updated: None,
            authentication: Authentication {
                kind: AuthenticationKind::Sas,
                primary: random_key()?,
                secondary: random_key()?,
                thumbprints: Thumbprints::default(),
            },
            iot_edge: false,
            parent_scope: None,
            managed_by: None,
        };
        let mut identity = default.changed(request)?;
        identity.status_updated = None;
        Ok(identity)
    }

    /// Returns this identity with the changes of `request`. Empty keys leave the current keys
    /// unchanged, because the Node client sends them with every update.
    pub(super) fn changed(&self, request: &IdentityRequest) -> Result<Identity, HubError> {
        let mut changed = self.clone();
        if let Some(status) = request.status {
            changed.status = status;
        }
        if changed.status != self.status {
            changed.status_updated = Some(now());
        }
        changed.status_reason.clone_from(&request.status_reason);
        if let Some(capabilities) = request.capabilities {
            changed.iot_edge = capabilities.iot_edge;
        }
        changed.parent_scope =
            request.scopes.parent(changed.iot_edge, self.parent_scope.as_deref())?;
        if let Some(manager) = &request.managed_by {
            changed.managed_by = Some(manager.clone());
        }
        if let Some(requested) = &request.authentication {
            let authentication = &mut changed.authentication;
            authentication.kind = requested.kind(authentication.kind);
            if let Some(keys) = &requested.symmetric_key {
                set_key(&mut authentication.primary, "primaryKey", keys.primary_key.as_deref())?;
                let secondary = keys.secondary_key.as_deref();
                set_key(&mut authentication.secondary, "secondaryKey", secondary)?;
            }
            if let Some(thumbprints) = &requested.x509_thumbprint {
                authentication.thumbprints = checked(thumbprints)?;
            }
        }
        changed.etag = next_etag(self.etag)?;
        Ok(changed)
    }

    /// Returns the scope that a device belongs to: its own if it is an edge device, otherwise
    /// that of its parent.
    pub(super) fn device_scope(&self, device: &DeviceId) -> Option<String> {
        match self.iot_edge {
            true => Some(scopes::of_edge_device(device, &self.generation)),
            false => self.parent_scope.clone(),
        }
    }

    pub(super) fn etag_text(&self) -> String {
        etag::of_identity(self.etag)
    }
}

impl AuthenticationRequest {
    /// Returns the requested kind, or else `current`. The Node client sends thumbprints without
    /// a kind.
    fn kind(&self, current: AuthenticationKind) -> AuthenticationKind {
        let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let has_key = self
            .symmetric_key
            .as_ref()
            .is_some_and(|keys| set(&keys.primary_key) || set(&keys.secondary_key));
        let has_thumbprint = self
            .x509_thumbprint
            .as_ref()
            .is_some_and(|it| set(&it.primary_thumbprint) || set(&it.secondary_thumbprint));
        match self.kind {
            Some(kind) => kind,
            None if has_thumbprint && !has_key => AuthenticationKind::SelfSigned,
            None => current,
        }
    }
}

/// Returns the thumbprints if each of them is a digest of SHA-1 or SHA-256. Empty ones are
/// removed.
fn checked(thumbprints: &Thumbprints) -> Result<Thumbprints, HubError> {
    let check = |name: &str, text: &Option<String>| {
        let Some(text) = text.as_ref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_hex && matches!(text.len(), 40 | 64) {
            return Ok(Some(text.clone()));
        }
        let message =
            format!("{name} is not a thumbprint of 40 (SHA-1) or 64 (SHA-256) hex digits");
        Err(HubError::new(ErrorCode::ArgumentInvalid, message))
    };
    Ok(Thumbprints {
        primary_thumbprint: check("primaryThumbprint", &thumbprints.primary_thumbprint)?,
        secondary_thumbprint: check("secondaryThumbprint", &thumbprints.secondary_thumbprint)?,
    })
}

fn set_key(key: &mut KeyText, name: &str, text: Option<&str>) -> Result<(), HubError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(()) };
    let parsed = text.parse().map_err(|_| {
        HubError::new(ErrorCode::ArgumentInvalid, format!("{name} is not a base64 key"))
    })?;
    *key = KeyText(parsed);
    Ok(())
}

fn random_key() -> Result<KeyText, HubError> {
    let key = Key::from_bytes(&random::<32>()?);
    Ok(KeyText(key.map_err(|error| HubError::new(ErrorCode::ServerError, error.to_string()))?))
}

fn generation() -> Result<String, HubError> {
    // IoT Hub uses unique numbers of about 18 digits.
    let number = u64::from_be_bytes(random()?) % 900_000_000_000_000_000 + 100_000_000_000_000_000;
    Ok(number.to_string())
}

/// Returns the number of the next etag. As in IoT Hub, the increment is random, so that
/// clients cannot predict the etag.
fn next_etag(current: u32) -> Result<u32, HubError> {
    Ok(current.wrapping_add(u32::from_be_bytes(random()?) % 1_000_000 + 1))
}

fn random<const N: usize>() -> Result<[u8; N], HubError> {
    random_bytes().map_err(|error| HubError::new(ErrorCode::ServerError, error.to_string()))
}
