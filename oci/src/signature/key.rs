//! Keys of signatures, on P-256 and Ed25519, as PEM files.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, UnparsedPublicKey,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::Digest;

/// The start of a `SubjectPublicKeyInfo` with a point on P-256 (RFC 5480): everything before
/// the uncompressed point.
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The start of a `SubjectPublicKeyInfo` with an Ed25519 key (RFC 8410).
const ED25519_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Length of an uncompressed point on P-256.
const P256_POINT: usize = 65;

/// Length of an Ed25519 key.
const ED25519_KEY: usize = 32;

/// Maximum number of keys in a file.
const MAX_KEYS: usize = 32;

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// Ed25519 in the pure form.
    Ed25519,
}

/// A public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: KeyType,
    spki: Vec<u8>,
}

/// Error for an unusable key. The message is a predicate that follows the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A text without a public key.
    #[error("has no public key in PEM: a block `BEGIN PUBLIC KEY`")]
    NoPublicKey,
    /// A text without a private key.
    #[error("has no private key in PEM: a block `BEGIN PRIVATE KEY`")]
    NoPrivateKey,
    /// A private key in another form.
    #[error("has a private key as `{0}` instead of PKCS#8")]
    OtherForm(&'static str),
    /// A file with too many keys.
    #[error("has more than {MAX_KEYS} keys")]
    TooMany,
    /// A malformed PEM text.
    #[error("is malformed PEM")]
    Pem,
    /// A key of another kind or a malformed one.
    #[error("has a key that is neither on P-256 nor of Ed25519")]
    Kind,
}

impl KeyError {
    /// Returns a way out.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            KeyError::OtherForm(SIGSTORE | COSIGN) => Some(
                "only `cosign` reads its encrypted keys; `behaviour keygen` creates another one",
            ),
            KeyError::OtherForm(_) => {
                Some("convert it with `openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW`")
            }
            KeyError::Kind => Some("`behaviour keygen` creates a key on P-256"),
            _ => None,
        }
    }
}

/// Form in which `cosign` stores a private key.
const SIGSTORE: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";

/// The same, before `cosign` 2.
const COSIGN: &str = "ENCRYPTED COSIGN PRIVATE KEY";

/// Error for a signature that could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system has no random numbers for a signature")]
pub struct SignError;

impl PublicKey {
    /// Parses the public keys of a PEM text, at least one.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<PublicKey>, KeyError> {
        let mut keys = Vec::new();
        for key in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            if keys.len() == MAX_KEYS {
                return Err(KeyError::TooMany);
            }
            keys.push(PublicKey::from_spki(&key.map_err(|_| KeyError::Pem)?)?);
        }
        match keys.is_empty() {
            true => Err(KeyError::NoPublicKey),
            false => Ok(keys),
        }
    }

    /// Parses a `SubjectPublicKeyInfo` in DER.
    pub fn from_spki(spki: &[u8]) -> Result<PublicKey, KeyError> {
        let is = |prefix: &[u8], length: usize| {
            spki.len() == prefix.len() + length && spki.starts_with(prefix)
        };
        let kind = match () {
            // Only the uncompressed form of a point begins with 4.
            () if is(&P256_PREFIX, P256_POINT) && spki[P256_PREFIX.len()] == 4 => KeyType::P256,
            () if is(&ED25519_PREFIX, ED25519_KEY) => KeyType::Ed25519,
            () => return Err(KeyError::Kind),
        };
        Ok(PublicKey { kind, spki: spki.to_owned() })
    }

    fn from_bytes(kind: KeyType, bytes: &[u8]) -> PublicKey {
        let prefix: &[u8] = match kind {
            KeyType::P256 => &P256_PREFIX,
            KeyType::Ed25519 => &ED25519_PREFIX,
        };
        PublicKey { kind, spki: [prefix, bytes].concat() }
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// Returns the id by which a bundle names its key: the SHA-256 digest of the
    /// `SubjectPublicKeyInfo` in base64.
    #[must_use]
    pub fn id(&self) -> String {
        STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, &self.spki))
    }

    /// Returns the digest of the `SubjectPublicKeyInfo`, which `openssl pkey -pubin -outform der
    /// | sha256sum` prints.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.spki)
    }

    /// Returns the key as a PEM text.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self.kind {
            KeyType::P256 => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.spki[P256_PREFIX.len()..])
                    .verify(message, signature)
                    .is_ok()
            }
            KeyType::Ed25519 => {
                UnparsedPublicKey::new(&ED25519, &self.spki[ED25519_PREFIX.len()..])
                    .verify(message, signature)
                    .is_ok()
            }
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.kind, self.id())
    }
}

/// A private key. Its `Debug` form has only the public part.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Generates a key. Also returns it in PKCS#8 (DER), the only copy of its secret part.
    pub fn generate(kind: KeyType) -> Result<(PrivateKey, Vec<u8>), SignError> {
        let random = SystemRandom::new();
        let document = match kind {
            KeyType::P256 => EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random),
            KeyType::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
        };
        let document = document.map_err(|_| SignError)?.as_ref().to_vec();
        let key = PrivateKey::from_pkcs8(&document).expect("a generated key is valid");
        Ok((key, document))
    }

    /// Parses the private key of a PEM text in PKCS#8 without a passphrase.
    pub fn from_pem(pem: &[u8]) -> Result<PrivateKey, KeyError> {
        let has = |label: &str| {
            let line = format!("-----BEGIN {label}-----");
            pem.windows(line.len()).any(|window| window == line.as_bytes())
        };
        let forms = ["EC PRIVATE KEY", SIGSTORE, COSIGN, "ENCRYPTED PRIVATE KEY"];
        if let Some(form) = forms.into_iter().find(|form| has(form)) {
            return Err(KeyError::OtherForm(form));
        }
        if !has("PRIVATE KEY") {
            return Err(KeyError::NoPrivateKey);
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| KeyError::Pem)?;
        PrivateKey::from_pkcs8(der.secret_pkcs8_der())
    }

    /// Returns a private key in PKCS#8 (DER) as a PEM text.
    #[must_use]
    pub fn pem_of_pkcs8(der: &[u8]) -> String {
        pem("PRIVATE KEY", der)
    }

    /// Parses a private key in PKCS#8 (DER).
    pub fn from_pkcs8(der: &[u8]) -> Result<PrivateKey, KeyError> {
        let random = SystemRandom::new();
        if let Ok(pair) = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random) {
            let public = PublicKey::from_bytes(KeyType::P256, pair.public_key().as_ref());
            return Ok(PrivateKey { pair: Pair::P256(pair), public });
        }
        // OpenSSL leaves out the public part, which can be computed.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| KeyError::Kind)?;
        let public = PublicKey::from_bytes(KeyType::Ed25519, pair.public_key().as_ref());
        Ok(PrivateKey { pair: Pair::Ed25519(pair), public })
    }

    /// Returns the public key.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = match &self.pair {
            Pair::P256(pair) => pair.sign(&SystemRandom::new(), message).map_err(|_| SignError)?,
            Pair::Ed25519(pair) => pair.sign(message),
        };
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// Returns a PEM text with lines of 64 characters (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
