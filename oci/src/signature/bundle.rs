//! Sigstore bundles of version 0.3 with an envelope by DSSE.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

use super::{MAX_BUNDLE_BYTES, PrivateKey, PublicKey, SignError, statement};
use crate::{Digest, media_type, strict};

/// The other spelling of the media type of version 0.3.
const OTHER_MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";

/// Type of the payload of an envelope with a statement.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// Reason why a bundle is no valid signature. The message is a predicate that follows the
/// bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A text that is not JSON, has duplicate keys or lacks a field.
    #[error("{0}")]
    Malformed(String),
    /// A bundle of another version.
    #[error("has the media type `{0}`; only version 0.3 is read")]
    MediaType(String),
    /// A bundle by certificate.
    #[error("is made with a certificate instead of a key")]
    Certificate,
    /// A bundle that names no key.
    #[error("names no public key")]
    NoKey,
    /// A bundle without an envelope, or with a signature of a file as well.
    #[error("has no envelope by DSSE, or has another signature besides it")]
    Content,
    /// An envelope with another payload.
    #[error("has a payload of type `{0}` instead of a statement")]
    PayloadType(String),
    /// An envelope with a number of signatures other than one.
    #[error("has {0} signatures instead of one")]
    Signatures(usize),
    /// A field that is not base64 with padding.
    #[error("has a field `{0}` that is not base64")]
    Base64(&'static str),
    /// A signature that no trusted key made.
    #[error("is not signed by a trusted key, or was changed; it names the key `{0}`")]
    Untrusted(String),
    /// A signed statement that is malformed.
    #[error("has a statement that {0}")]
    Statement(String),
    /// A statement of another type.
    #[error("has a statement of type `{0}`")]
    StatementType(String),
    /// A statement that is no signature.
    #[error("is a statement about `{0}`, not a signature")]
    Predicate(String),
    /// A statement with a number of subjects other than one.
    #[error("has {0} subjects instead of one")]
    Subjects(usize),
    /// A statement about content without a SHA-256 digest.
    #[error("has a subject without a SHA-256 digest")]
    NoDigest,
    /// A bundle that the source does not have, or that must not count.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// A signature of other content.
    #[error("signs `{0}`")]
    OtherDigest(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundleText {
    media_type: String,
    verification_material: Material,
    dsse_envelope: Option<Envelope>,
    message_signature: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Material {
    public_key: Option<KeyHint>,
    certificate: Option<IgnoredAny>,
    #[serde(rename = "x509CertificateChain")]
    chain: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct KeyHint {
    #[serde(default)]
    hint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

/// Returns the key that signed `digest`, and the signed annotations.
pub(super) fn verify<'a>(
    text: &[u8],
    digest: &Digest,
    keys: &'a [PublicKey],
) -> Result<(&'a PublicKey, BTreeMap<String, String>), BundleError> {
    let bundle: BundleText =
        strict::object(text, MAX_BUNDLE_BYTES).map_err(BundleError::Malformed)?;
    if ![media_type::BUNDLE, OTHER_MEDIA_TYPE].contains(&&*bundle.media_type) {
        return Err(BundleError::MediaType(excerpt(&bundle.media_type)));
    }
    let material = bundle.verification_material;
    if material.certificate.is_some() || material.chain.is_some() {
        return Err(BundleError::Certificate);
    }
    let hint = material.public_key.ok_or(BundleError::NoKey)?.hint;
    let (Some(envelope), None) = (bundle.dsse_envelope, bundle.message_signature) else {
        return Err(BundleError::Content);
    };
    if envelope.payload_type != PAYLOAD_TYPE {
        return Err(BundleError::PayloadType(excerpt(&envelope.payload_type)));
    }
    let [signature] = &envelope.signatures[..] else {
        return Err(BundleError::Signatures(envelope.signatures.len()));
    };
    let decode = |field, text: &str| STANDARD.decode(text).map_err(|_| BundleError::Base64(field));
    let payload = decode("payload", &envelope.payload)?;
    let signature = decode("sig", &signature.sig)?;
    let message = encoding_before_authentication(&payload);
    // The hint is no proof. It only selects the key that is tried first.
    let named = keys.iter().filter(|key| key.id() == hint);
    let others = keys.iter().filter(|key| key.id() != hint);
    let key = named.chain(others).find(|key| key.verifies(&message, &signature));
    let key = key.ok_or_else(|| BundleError::Untrusted(excerpt(&hint)))?;
    // Nothing of the payload is read before the signature is verified.
    Ok((key, statement::read(&payload, digest)?))
}

/// Returns the id of the key that a bundle names.
pub(super) fn named_key(text: &[u8]) -> Option<String> {
    let bundle: BundleText = strict::object(text, MAX_BUNDLE_BYTES).ok()?;
    Some(excerpt(&bundle.verification_material.public_key?.hint))
}

/// Returns the text of a bundle with a signature of `digest`.
pub(super) fn sign(
    key: &PrivateKey,
    digest: &Digest,
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<u8>, SignError> {
    let payload = statement::write(digest, annotations);
    let signature = key.sign(&encoding_before_authentication(&payload))?;
    // The two empty fields are what other readers insist on.
    let bundle = json!({
        "mediaType": media_type::BUNDLE,
        "verificationMaterial": {
            "publicKey": {"hint": key.public_key().id()},
            "tlogEntries": [],
            "timestampVerificationData": {},
        },
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    });
    Ok(bundle.to_string().into_bytes())
}

/// Returns the bytes that a signature covers (DSSE, "Signature Definition").
fn encoding_before_authentication(payload: &[u8]) -> Vec<u8> {
    let start = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
    [start.as_bytes(), payload].concat()
}

fn excerpt(text: &str) -> String {
    json::excerpt(text, 80).into_owned()
}
