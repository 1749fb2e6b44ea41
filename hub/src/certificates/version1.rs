//! Chains of certificates of X.509 version 1.
//!
//! `openssl x509 -req` of OpenSSL 3.0 creates such certificates unless it is given extensions,
//! and IoT Hub accepts them: azure-iot-sdk-node, `e2etests/test/device_identity_helper.js`,
//! `createCACertDevice`. webpki refuses every certificate but those of version 3.
//!
//! A certificate of version 1 has no extensions, so it can only belong to a device. An authority
//! must have signed it directly; certificates of authorities are left to webpki.

use rustls::pki_types::{CertificateDer, TrustAnchor};
use trust::{Certificate, CertificateSignature};
use webpki::{RawPublicKeyEntity, spki_for_anchor};

use super::{CertificateRefusal, check_time};

/// Checks that one of these authorities has signed the certificate with these facts, and that
/// it is valid at this time.
pub(super) fn check<'a>(
    leaf: &CertificateDer<'_>,
    facts: &Certificate,
    authorities: impl Iterator<Item = &'a TrustAnchor<'static>>,
    now_unix: u64,
) -> Result<(), CertificateRefusal> {
    let signature = CertificateSignature::parse(leaf).map_err(|_| CertificateRefusal::Malformed)?;
    // An authority for certain names cannot be checked against a certificate without them.
    let mut issuers = authorities.filter(|authority| {
        authority.name_constraints.is_none() && *authority.subject == *facts.issuer_name
    });
    if !issuers.any(|authority| has_signed(authority, &signature)) {
        let reason = "no trusted authority has signed it directly, as version 1 of X.509 requires";
        return Err(CertificateRefusal::Chain(reason.to_owned()));
    }
    check_time(facts, now_unix)
}

fn has_signed(authority: &TrustAnchor<'_>, signature: &CertificateSignature) -> bool {
    let key = spki_for_anchor(authority);
    let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let CertificateSignature { signed, algorithm, value } = signature;
    let mut algorithms =
        algorithms.all.iter().filter(|it| it.signature_alg_id().as_ref() == *algorithm);
    algorithms.any(|algorithm| key.verify_signature(*algorithm, signed, value).is_ok())
}
