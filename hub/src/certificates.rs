//! Client certificates of devices.
//!
//! The TLS handshake accepts every client certificate whose key the client has, and no
//! certificate at all. CONNECT decides, so that a device with a wrong certificate gets a
//! CONNACK, as in IoT Hub, and not a failed handshake.

mod version1;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protocol::registry::Thumbprints;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerMisbehaved,
    RootCertStore, ServerConnection, SignatureScheme,
};
use trust::{Certificate, sha1_thumbprint, sha256_thumbprint};
use webpki::RawPublicKeyEntity;

/// The certificates that a client has presented, its own first. Empty if there are none.
#[derive(Debug, Clone, Default)]
pub(crate) struct PeerCertificates(Arc<[CertificateDer<'static>]>);

/// Reason why the certificate of a device is refused, for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateRefusal {
    #[error("no certificate, which this device signs in with")]
    Absent,
    #[error("the certificate is malformed")]
    Malformed,
    #[error("the certificate has expired or is not valid yet")]
    Time,
    #[error("the certificate's thumbprint is not that of the device")]
    Thumbprint,
    #[error("the certificate's common name is not `{0}`")]
    Name(String),
    #[error("this hub trusts no authority of devices")]
    NoAuthorities,
    #[error("the certificate is not signed by a trusted authority: {0}")]
    Chain(String),
}

impl PeerCertificates {
    /// Returns the certificates of a connection after its handshake.
    pub(crate) fn of(connection: &ServerConnection) -> PeerCertificates {
        PeerCertificates(connection.peer_certificates().unwrap_or_default().into())
    }

    /// Checks that the certificate has one of these thumbprints and is valid at this time.
    /// As in IoT Hub, neither its name nor its issuer matters.
    pub(crate) fn check_thumbprint(
        &self,
        thumbprints: &Thumbprints,
        now_unix: u64,
    ) -> Result<(), CertificateRefusal> {
        let leaf = self.0.first().ok_or(CertificateRefusal::Absent)?;
        let own = [sha1_thumbprint(leaf), sha256_thumbprint(leaf)];
        let registered = [&thumbprints.primary_thumbprint, &thumbprints.secondary_thumbprint];
        let known = |known: &str| own.iter().any(|own| own.eq_ignore_ascii_case(known));
        if !registered.into_iter().flatten().any(|registered| known(registered)) {
            return Err(CertificateRefusal::Thumbprint);
        }
        let certificate = Certificate::parse(leaf).map_err(|_| CertificateRefusal::Malformed)?;
        check_time(&certificate, now_unix)
    }

    /// Checks that one of these authorities has signed the certificate, directly or through
    /// the other certificates that the client has presented, that all of them are valid at
    /// this time, and that the certificate belongs to `device`.
    pub(crate) fn check_chain(
        &self,
        authorities: &DeviceAuthorities,
        device: &str,
        now_unix: u64,
    ) -> Result<(), CertificateRefusal> {
        self.check_signatures(authorities, now_unix)?;
        match self.common_name()?.as_deref() == Some(device) {
            true => Ok(()),
            false => Err(CertificateRefusal::Name(device.to_owned())),
        }
    }

    /// Checks that one of these authorities has signed the certificate, as
    /// [`PeerCertificates::check_chain`] does, whatever its name is.
    pub(crate) fn check_signatures(
        &self,
        authorities: &DeviceAuthorities,
        now_unix: u64,
    ) -> Result<(), CertificateRefusal> {
        let (leaf, intermediates) = self.0.split_first().ok_or(CertificateRefusal::Absent)?;
        let verifier = authorities.any.as_ref().ok_or(CertificateRefusal::NoAuthorities)?;
        let facts = self.facts()?;
        if facts.version == 1 {
            return version1::check(leaf, &facts, authorities.roots(), now_unix);
        }
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_unix));
        verifier.verify_client_cert(leaf, intermediates, now).map_err(|error| match error {
            Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => CertificateRefusal::Time,
            other => CertificateRefusal::Chain(other.to_string()),
        })?;
        Ok(())
    }

    /// Returns the client's own certificate.
    pub(crate) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.0.first()
    }

    /// Returns the common name of the client's own certificate.
    pub(crate) fn common_name(&self) -> Result<Option<String>, CertificateRefusal> {
        Ok(self.facts()?.common_name)
    }

    /// Returns the facts about the client's own certificate.
    pub(crate) fn facts(&self) -> Result<Certificate, CertificateRefusal> {
        let leaf = self.leaf().ok_or(CertificateRefusal::Absent)?;
        Certificate::parse(leaf).map_err(|_| CertificateRefusal::Malformed)
    }

    /// Returns the distance of a certificate from the client's own one in the presented chain.
    /// Returns the length of the chain for a certificate that the client left out.
    pub(crate) fn distance(&self, certificate: &CertificateDer<'_>) -> usize {
        let found = self.0.iter().position(|presented| presented == certificate);
        found.unwrap_or(self.0.len())
    }
}

/// The authorities that can sign the certificates of devices.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeviceAuthorities {
    any: Option<Arc<dyn ClientCertVerifier>>,
    /// The authorities of each file, by its name.
    named: BTreeMap<String, RootCertStore>,
}

impl DeviceAuthorities {
    /// Creates authorities with these certificates, possibly none.
    pub(crate) fn new(roots: RootCertStore) -> Result<DeviceAuthorities, VerifierBuilderError> {
        DeviceAuthorities::named(BTreeMap::from([(String::new(), roots)]))
    }

    /// Creates authorities with the certificates of these names.
    pub(crate) fn named(
        named: BTreeMap<String, RootCertStore>,
    ) -> Result<DeviceAuthorities, VerifierBuilderError> {
        let mut all = RootCertStore::empty();
        all.roots.extend(named.values().flat_map(|roots| roots.roots.iter().cloned()));
        if all.is_empty() {
            return Ok(DeviceAuthorities { any: None, named });
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(all), provider);
        Ok(DeviceAuthorities { any: Some(builder.build()?), named })
    }

    /// Returns the authorities with this name.
    pub(crate) fn of_name(&self, name: &str) -> Option<DeviceAuthorities> {
        DeviceAuthorities::new(self.named.get(name)?.clone()).ok()
    }

    /// Returns the authority with this certificate, whether the hub trusts it or not.
    pub(crate) fn of_certificate(der: &CertificateDer<'static>) -> Option<DeviceAuthorities> {
        let mut roots = RootCertStore::empty();
        roots.add(der.clone()).ok()?;
        DeviceAuthorities::new(roots).ok()
    }

    /// Returns the certificates of all authorities.
    fn roots(&self) -> impl Iterator<Item = &TrustAnchor<'static>> {
        self.named.values().flat_map(|store| &store.roots)
    }

    /// Returns `true` if this is a certificate of one of the authorities.
    pub(crate) fn contain(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(anchor) = webpki::anchor_from_trusted_cert(certificate) else { return false };
        self.roots().any(|root| *root == anchor)
    }
}

/// Checks that a certificate is valid at this time.
fn check_time(certificate: &Certificate, now_unix: u64) -> Result<(), CertificateRefusal> {
    let now = i64::try_from(now_unix).unwrap_or(i64::MAX);
    match (certificate.valid_from_unix..=certificate.valid_until_unix).contains(&now) {
        true => Ok(()),
        false => Err(CertificateRefusal::Time),
    }
}

/// Verifier of the TLS handshake. It requests a certificate and checks only that the client
/// has its key.
#[derive(Debug)]
pub(crate) struct AnyCertificate(WebPkiSupportedAlgorithms);

impl AnyCertificate {
    pub(crate) fn new(provider: &CryptoProvider) -> AnyCertificate {
        AnyCertificate(provider.signature_verification_algorithms)
    }

    /// Verifies a signature of the handshake. The functions of rustls for this purpose refuse
    /// certificates of version 1, which IoT Hub accepts.
    fn verify(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let malformed = Error::InvalidCertificate(CertificateError::BadEncoding);
        let facts = Certificate::parse(certificate).map_err(|_| malformed.clone())?;
        let key = SubjectPublicKeyInfoDer::from(facts.public_key);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| malformed)?;
        let mut algorithms = self.0.mapping.iter().filter(|(scheme, _)| *scheme == signed.scheme);
        let (_, algorithms) =
            algorithms.next().ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        let fits = |algorithm| key.verify_signature(algorithm, message, signed.signature()).is_ok();
        match algorithms.iter().copied().any(fits) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// Returns no names, so that clients present any certificate that they have.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verify(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // TLS 1.3 has no PKCS #1 signatures in handshakes (RFC 8446, section 4.2.3).
        let forbidden = [
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
        ];
        if forbidden.contains(&signed.scheme) {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        self.verify(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
pub(crate) mod tests;
