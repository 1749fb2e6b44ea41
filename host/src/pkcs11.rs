//! Keys in tokens: hardware security modules, secure elements and TPMs, through PKCS #11.
//!
//! A [`TokenKey`] signs TLS handshakes. The key never leaves its token, and a token that is
//! missing or pulled is looked for again at each handshake. Creating a [`TokenKey`] does not
//! access the token, so a token may appear after the start.
//!
//! A wrong PIN is sent once: see [`module`].

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{OtherError, SignatureAlgorithm, SignatureScheme};
use trust::{Certificate, KeyKind};

use crate::config::Pkcs11Uri;
pub use error::TokenError;
pub use module::release as release_tokens;
pub(crate) use request::RequestTokenKey;
use session::TokenSession;

mod error;
mod mechanism;
mod module;
mod request;
mod session;

/// A message for the proof that a key belongs to its certificate.
const PROOF: &[u8] = b"behaviour-host: this key belongs to this certificate";

/// A key in a token, whose certificate is known.
#[derive(Clone)]
pub(crate) struct TokenKey(Arc<TokenKeyInner>);

struct TokenKeyInner {
    uri: Pkcs11Uri,
    kind: KeyKind,
    /// The public key of the certificate, with and without its algorithm.
    public_key: Vec<u8>,
    key_bits: Vec<u8>,
    /// The session with the token; `None` before the first signature, and after a failure.
    session: Mutex<Option<TokenSession>>,
}

impl TokenKey {
    /// Returns the key of a certificate. Does not access the token.
    pub(crate) fn new(uri: Pkcs11Uri, certificate: &Certificate) -> Result<TokenKey, TokenError> {
        if certificate.key_kind == KeyKind::Other {
            return Err(TokenError::Kind(uri.to_string()));
        }
        Ok(TokenKey(Arc::new(TokenKeyInner {
            uri,
            kind: certificate.key_kind,
            public_key: certificate.public_key.clone(),
            key_bits: certificate.key_bits.clone(),
            session: Mutex::default(),
        })))
    }

    /// Opens the token, and checks that its key belongs to the certificate. Blocks.
    pub(crate) fn check(&self) -> Result<(), TokenError> {
        let mut session = self.0.session.lock();
        if session.is_none() {
            *session = Some(self.0.open()?);
        }
        Ok(())
    }
}

impl TokenKeyInner {
    /// Opens a session, and checks that its key belongs to the certificate.
    fn open(&self) -> Result<TokenSession, TokenError> {
        let session = TokenSession::open(&self.uri)?;
        let scheme = mechanism::schemes(self.kind)[0];
        let signature = session.sign(scheme, PROOF).map_err(|error| self.failed(&error))?;
        match mechanism::verify(scheme, &self.key_bits, PROOF, &signature) {
            true => Ok(session),
            false => Err(TokenError::OtherKey(self.uri.to_string())),
        }
    }

    /// Signs a message. A session that no longer works is opened again once.
    fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let mut slot = self.session.lock();
        if let Some(session) = slot.as_ref()
            && let Ok(signature) = session.sign(scheme, message)
        {
            return Ok(signature);
        }
        *slot = None;
        let session = self.open()?;
        let signature = session.sign(scheme, message).map_err(|error| self.failed(&error))?;
        *slot = Some(session);
        Ok(signature)
    }

    fn failed(&self, error: &cryptoki::error::Error) -> TokenError {
        TokenError::Failed { key: self.uri.to_string(), reason: error::reason(error) }
    }
}

impl SigningKey for TokenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let schemes = mechanism::schemes(self.0.kind);
        let scheme = *schemes.iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(TokenSigner { key: self.clone(), scheme }))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        Some(self.0.public_key.as_slice().into())
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0.kind {
            KeyKind::Rsa => SignatureAlgorithm::RSA,
            KeyKind::P256 | KeyKind::P384 | KeyKind::Other => SignatureAlgorithm::ECDSA,
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({})", self.0.uri)
    }
}

/// A signer of one handshake.
#[derive(Debug)]
struct TokenSigner {
    key: TokenKey,
    scheme: SignatureScheme,
}

impl Signer for TokenSigner {
    /// Signs on this thread, since rustls offers no other way. A TPM takes 0.1 s.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let signature = self.key.0.sign(self.scheme, message);
        signature.map_err(|error| rustls::Error::Other(OtherError(Arc::new(error))))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}
