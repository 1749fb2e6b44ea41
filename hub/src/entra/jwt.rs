//! JSON Web Tokens (RFC 7519) that are signed with ECDSA and P-256 (RFC 7518, `ES256`).
//!
//! Microsoft Entra ID signs with RSA. Clients do not read the tokens, and services select the
//! algorithm by the published key, so the difference has no effect. This is the only module
//! that depends on `ring`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::error::Unspecified;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde_json::{Value, json};

/// Maximum length of a token.
const MAX_BYTES: usize = 16 * 1024;

/// A key that signs tokens.
pub(super) struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl SigningKey {
    pub(super) fn generate() -> Result<SigningKey, Unspecified> {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)?;
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random)?;
        Ok(SigningKey { pair, random })
    }

    /// Returns a token with these claims.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, Unspecified> {
        let header = json!({ "typ": "JWT", "alg": "ES256", "kid": self.id() });
        let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", encoded(&header), encoded(claims));
        let signature = self.pair.sign(&self.random, text.as_bytes())?;
        Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Returns the claims of a token that this key has signed.
    pub(super) fn verify(&self, token: &str) -> Result<Value, InvalidToken> {
        if token.len() > MAX_BYTES {
            return Err(InvalidToken::Malformed);
        }
        let (text, signature) = token.rsplit_once('.').ok_or(InvalidToken::Malformed)?;
        let (header, claims) = text.split_once('.').ok_or(InvalidToken::Malformed)?;
        let header = decoded(header).ok_or(InvalidToken::Malformed)?;
        let claims = decoded(claims).ok_or(InvalidToken::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| InvalidToken::Malformed)?;
        // The algorithm is that of the key: a token does not select its own.
        if header["alg"] != "ES256" {
            return Err(InvalidToken::Algorithm);
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key());
        match public.verify(text.as_bytes(), &signature) {
            Ok(()) => Ok(claims),
            Err(Unspecified) => Err(InvalidToken::Signature),
        }
    }

    /// Returns the public key as a JSON Web Key (RFC 7517).
    pub(super) fn public_key(&self) -> Value {
        let (x, y) = self.coordinates();
        json!({ "kty": "EC", "use": "sig", "alg": "ES256", "crv": "P-256", "kid": self.id(), "x": x, "y": y })
    }

    /// Returns the id of the key: its first coordinate.
    fn id(&self) -> String {
        self.coordinates().0
    }

    fn coordinates(&self) -> (String, String) {
        // An uncompressed point: 0x04, then both coordinates.
        let point = &self.pair.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y))
    }
}

/// Reason why a text is not a token of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidToken {
    #[error("the token is malformed")]
    Malformed,
    #[error("the token is not signed with ES256")]
    Algorithm,
    #[error("the token is not signed by the directory of this hub")]
    Signature,
}

fn decoded(part: &str) -> Option<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    let value = json::value(std::str::from_utf8(&bytes).ok()?).ok()?;
    value.is_object().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_claims_that_were_signed() {
        let key = SigningKey::generate().unwrap();
        let claims = json!({ "sub": "a", "exp": 7 });
        let token = key.sign(&claims).unwrap();
        assert_eq!(key.verify(&token), Ok(claims));
        assert_eq!(SigningKey::generate().unwrap().verify(&token), Err(InvalidToken::Signature));
    }

    #[test]
    fn a_changed_or_unsigned_token_is_refused() {
        let key = SigningKey::generate().unwrap();
        let token = key.sign(&json!({ "sub": "a" })).unwrap();
        let [header, _, signature] = token.splitn(3, '.').collect::<Vec<_>>()[..] else {
            panic!("{token}")
        };
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let other = encode(r#"{"sub":"b"}"#);
        let changed = format!("{header}.{other}.{signature}");
        assert_eq!(key.verify(&changed), Err(InvalidToken::Signature));
        let unsigned = format!("{}.{other}.", encode(r#"{"alg":"none"}"#));
        assert_eq!(key.verify(&unsigned), Err(InvalidToken::Algorithm));
        for malformed in ["", "a", "a.b", "a.b.c", "..", &"a".repeat(MAX_BYTES + 1)] {
            assert_eq!(key.verify(malformed), Err(InvalidToken::Malformed));
        }
    }
}
