//! Keys in tokens that have no certificate yet, for certificate signing requests.

use parking_lot::Mutex;
use trust::KeyKind;

use super::error::{self, TokenError};
use super::mechanism;
use super::session::TokenSession;
use crate::config::Pkcs11Uri;

/// A key on an elliptic curve in a token, with its public part.
pub(crate) struct RequestTokenKey {
    uri: Pkcs11Uri,
    kind: KeyKind,
    point: Vec<u8>,
    /// A session is used by one thread at a time.
    session: Mutex<TokenSession>,
}

impl RequestTokenKey {
    /// Finds the key and reads its public part. Blocks.
    pub(crate) fn open(uri: &Pkcs11Uri) -> Result<RequestTokenKey, TokenError> {
        let session = TokenSession::open(uri)?;
        let (kind, point) = session.public_point(uri)?;
        Ok(RequestTokenKey { uri: uri.clone(), kind, point, session: Mutex::new(session) })
    }

    /// Creates a P-384 key, which never leaves the token. Refuses a label and id that a key has
    /// already. Blocks.
    pub(crate) fn create(uri: &Pkcs11Uri) -> Result<(), TokenError> {
        TokenSession::create_key(uri)
    }

    /// Returns the curve.
    pub(crate) fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Returns the public key as an uncompressed point.
    pub(crate) fn point(&self) -> &[u8] {
        &self.point
    }

    /// Signs a message, which is not hashed, in the format of X.509. Blocks.
    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let scheme = mechanism::schemes(self.kind)[0];
        let signed = self.session.lock().sign(scheme, message);
        signed.map_err(|error| TokenError::Failed {
            key: self.uri.to_string(),
            reason: error::reason(&error),
        })
    }
}
