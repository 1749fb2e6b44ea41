//! Certificate signing requests (PKCS #10) for keys in files and in tokens.

use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256,
    PKCS_ECDSA_P384_SHA384, PublicKeyData, SignatureAlgorithm, SigningKey,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use trust::KeyKind;

use super::IssuedError;
use crate::config::Pkcs11Uri;
use crate::pkcs11::RequestTokenKey;

/// The key of a request.
pub(super) enum RequestKey {
    /// A key that the host has generated.
    File(KeyPair),
    /// A key in a token.
    Token(RequestTokenKey),
}

impl RequestKey {
    /// Generates a P-384 key, the kind that Azure issues certificates for.
    pub(super) fn generate() -> Result<RequestKey, IssuedError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(failed)?;
        Ok(RequestKey::File(key))
    }

    /// Returns the key in a PEM text, if there is one. Its other sections are ignored.
    pub(super) fn in_pem(pem: &[u8]) -> Option<RequestKey> {
        let key = PrivateKeyDer::from_pem_slice(pem).ok()?;
        KeyPair::try_from(&key).ok().map(RequestKey::File)
    }

    /// Finds the key in a token. Blocks.
    pub(super) fn in_token(uri: &Pkcs11Uri) -> Result<RequestKey, IssuedError> {
        Ok(RequestKey::Token(RequestTokenKey::open(uri)?))
    }

    /// Returns the public key without its algorithm.
    pub(super) fn public_key(&self) -> &[u8] {
        self.der_bytes()
    }

    /// Returns the key in PEM format; `None` for a key in a token.
    pub(super) fn to_pem(&self) -> Option<String> {
        match self {
            RequestKey::File(key) => Some(super::to_pem("PRIVATE KEY", &key.serialize_der())),
            RequestKey::Token(_) => None,
        }
    }

    /// Returns a request with this common name, in DER. A token signs it. Blocks.
    pub(super) fn request(&self, name: &str) -> Result<Vec<u8>, IssuedError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let request = params.serialize_request(self).map_err(failed)?;
        Ok(request.der().to_vec())
    }
}

impl PublicKeyData for RequestKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            RequestKey::File(key) => key.der_bytes(),
            RequestKey::Token(key) => key.point(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            RequestKey::File(key) => key.algorithm(),
            RequestKey::Token(key) if key.kind() == KeyKind::P256 => &PKCS_ECDSA_P256_SHA256,
            RequestKey::Token(_) => &PKCS_ECDSA_P384_SHA384,
        }
    }
}

impl SigningKey for RequestKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            RequestKey::File(key) => key.sign(message),
            // The cause is not lost: the token is asked again for each request.
            RequestKey::Token(key) => key.sign(message).map_err(|_| rcgen::Error::RemoteKeyError),
        }
    }
}

fn failed(error: rcgen::Error) -> IssuedError {
    IssuedError::Request(json::excerpt(&error.to_string(), 120).into_owned())
}
