//! The signature schemes of TLS in the mechanisms of tokens.
//!
//! Tokens sign the digest of a message with ECDSA, since SoftHSM has no other mechanism, and
//! messages with RSA. The list of a token's mechanisms is not asked: that of tpm2-pkcs11 lacks
//! PSS, which it has.

use std::ffi::c_ulong;

use cryptoki::error::Error;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use rustls::SignatureScheme;
use rustls::crypto::ring::default_provider;
use sha2::{Digest as _, Sha256, Sha384};
use trust::KeyKind;

/// Returns the schemes of a key, the preferred one first.
pub(super) fn schemes(kind: KeyKind) -> &'static [SignatureScheme] {
    match kind {
        KeyKind::P256 => &[SignatureScheme::ECDSA_NISTP256_SHA256],
        KeyKind::P384 => &[SignatureScheme::ECDSA_NISTP384_SHA384],
        KeyKind::Rsa | KeyKind::Other => &[
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
        ],
    }
}

/// Signs a message in the format of TLS. `token` signs with a mechanism.
pub(super) fn sign(
    scheme: SignatureScheme,
    message: &[u8],
    token: impl Fn(&Mechanism<'_>, &[u8]) -> Result<Vec<u8>, Error>,
) -> Result<Vec<u8>, Error> {
    let ecdsa = |digest: &[u8]| Ok(ecdsa_to_der(&token(&Mechanism::Ecdsa, digest)?));
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => ecdsa(&Sha256::digest(message)),
        SignatureScheme::ECDSA_NISTP384_SHA384 => ecdsa(&Sha384::digest(message)),
        SignatureScheme::RSA_PKCS1_SHA256 => token(&Mechanism::Sha256RsaPkcs, message),
        SignatureScheme::RSA_PKCS1_SHA384 => token(&Mechanism::Sha384RsaPkcs, message),
        SignatureScheme::RSA_PKCS1_SHA512 => token(&Mechanism::Sha512RsaPkcs, message),
        SignatureScheme::RSA_PSS_SHA384 => {
            let pss = pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384, 48);
            token(&Mechanism::Sha384RsaPkcsPss(pss), message)
        }
        SignatureScheme::RSA_PSS_SHA512 => {
            let pss = pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512, 64);
            token(&Mechanism::Sha512RsaPkcsPss(pss), message)
        }
        _ => {
            let pss = pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256, 32);
            token(&Mechanism::Sha256RsaPkcsPss(pss), message)
        }
    }
}

/// Returns the parameters of a signature whose salt is as long as its digest, as TLS needs it
/// (RFC 8446, section 4.2.3).
fn pss(hash_alg: MechanismType, mgf: PkcsMgfType, salt_bytes: c_ulong) -> PkcsPssParams {
    PkcsPssParams { hash_alg, mgf, s_len: salt_bytes.into() }
}

/// Returns `true` if a signature in the format of TLS is that of a public key.
pub(super) fn verify(
    scheme: SignatureScheme,
    key_bits: &[u8],
    message: &[u8],
    signature: &[u8],
) -> bool {
    let mapping = default_provider().signature_verification_algorithms.mapping;
    let found = mapping.iter().find(|(known, _)| *known == scheme);
    found.is_some_and(|(_, algorithms)| {
        algorithms.iter().any(|it| it.verify_signature(key_bits, message, signature).is_ok())
    })
}

/// Converts a signature of a token, two numbers of equal length, to DER (RFC 3279, section
/// 2.2.3). Signatures of P-384 have at most 102 bytes inside, so all lengths are one byte.
fn ecdsa_to_der(signature: &[u8]) -> Vec<u8> {
    let (r, s) = signature.split_at(signature.len() / 2);
    let mut content = Vec::new();
    for number in [r, s] {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        // At least one byte, and a zero in front of a byte that would mean a negative number.
        let digits = &number[zeros.min(number.len().saturating_sub(1))..];
        let is_negative = digits.first().is_some_and(|byte| *byte >= 0x80);
        let length = digits.len() + usize::from(is_negative);
        content.extend([0x02, u8::try_from(length).unwrap_or(u8::MAX)]);
        content.extend(is_negative.then_some(0));
        content.extend(digits);
    }
    let mut der = vec![0x30, u8::try_from(content.len()).unwrap_or(u8::MAX)];
    der.extend(content);
    der
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_a_signature_are_as_short_as_der_requires() {
        assert_eq!(ecdsa_to_der(&[0, 1, 0x7f, 2]), [0x30, 7, 2, 1, 1, 2, 2, 0x7f, 2]);
        assert_eq!(ecdsa_to_der(&[0x80, 1, 0, 0]), [0x30, 8, 2, 3, 0, 0x80, 1, 2, 1, 0]);
        let longest = ecdsa_to_der(&[0xff; 96]);
        assert_eq!((longest.len(), longest[1], longest[3]), (104, 102, 49));
    }

    #[test]
    fn a_signature_is_verified_with_its_own_key_only() {
        let keys = [(); 2].map(|()| rcgen::KeyPair::generate().unwrap());
        let signature = rcgen::SigningKey::sign(&keys[0], b"message").unwrap();
        let scheme = schemes(KeyKind::P256)[0];
        let bits = keys.each_ref().map(|key| rcgen::PublicKeyData::der_bytes(key).to_vec());
        assert!(verify(scheme, &bits[0], b"message", &signature));
        assert!(!verify(scheme, &bits[1], b"message", &signature));
        assert!(!verify(scheme, &bits[0], b"another", &signature));
    }
}
