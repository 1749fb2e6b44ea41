//! Tests of handshakes, thumbprints and chains.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, ServerConfig, SupportedProtocolVersion};

use super::*;
use crate::ca::Authority;

/// 2026-06-01, when the certificates of these tests are valid.
pub(crate) const NOW: u64 = 1_780_272_000;

/// A certificate and its key.
pub(crate) struct Signed {
    pub(crate) certificate: CertificateDer<'static>,
    params: CertificateParams,
    key: KeyPair,
}

fn params(name: &str, years: (i32, i32), is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params
}

fn sign(params: CertificateParams, by: Option<&Signed>) -> Signed {
    let key = KeyPair::generate().unwrap();
    let certificate = match by {
        None => params.self_signed(&key).unwrap(),
        Some(by) => params.signed_by(&key, &Issuer::from_params(&by.params, &by.key)).unwrap(),
    };
    Signed { certificate: certificate.der().clone(), params, key }
}

/// Returns the certificate of an authority.
pub(crate) fn authority(name: &str, by: Option<&Signed>) -> Signed {
    sign(params(name, (2020, 2040), true), by)
}

/// Returns the certificate of a device, valid from the start of one year to that of the other.
pub(crate) fn device(name: &str, years: (i32, i32), by: Option<&Signed>) -> Signed {
    sign(params(name, years, false), by)
}

/// Returns the certificates that a device presents, in DER.
pub(crate) fn presenting(chain: &[CertificateDer<'static>]) -> PeerCertificates {
    PeerCertificates(chain.into())
}

/// Returns the certificates that a device presents.
pub(crate) fn presented(chain: &[&Signed]) -> PeerCertificates {
    PeerCertificates(chain.iter().map(|signed| signed.certificate.clone()).collect())
}

/// Returns a hub's authorities.
pub(crate) fn trusting(authorities: &[&Signed]) -> DeviceAuthorities {
    let mut roots = RootCertStore::empty();
    authorities.iter().for_each(|it| roots.add(it.certificate.clone()).unwrap());
    DeviceAuthorities::new(roots).unwrap()
}

/// Performs a handshake with a client that presents this certificate and has this key, and
/// returns the number of certificates that the server has seen.
fn handshake(
    version: &'static SupportedProtocolVersion,
    certificate: Option<(&Signed, &Signed)>,
) -> Result<usize, Error> {
    let hub = Authority::open(None).unwrap();
    let server: ServerConfig = hub.server_config(&["localhost".into()]).unwrap();
    let mut trust = trust::Trust::empty();
    trust.add_pem(hub.certificate_pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(trust.into_roots())
        .with_no_client_auth();
    if let Some((certificate, owner)) = certificate {
        let key = PrivateKeyDer::try_from(owner.key.serialize_der()).unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        let certified = CertifiedKey::new(vec![certificate.certificate.clone()], key);
        let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(certified));
        client.client_auth_cert_resolver = resolver;
    }
    let mut client =
        ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut &wire[..]).unwrap();
        server.process_new_packets()?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut &wire[..]).unwrap();
        client.process_new_packets()?;
    }
    Ok(PeerCertificates::of(&server).0.len())
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn a_handshake_succeeds_with_any_certificate_and_with_none() {
    let expired = device("anything", (2001, 2002), None);
    for version in VERSIONS {
        assert_eq!(handshake(version, Some((&expired, &expired))), Ok(1));
        assert_eq!(handshake(version, None), Ok(0));
    }
}

#[test]
fn a_handshake_fails_if_the_client_lacks_the_key_of_its_certificate() {
    let (device, other) = (device("d1", (2026, 2027), None), device("d1", (2026, 2027), None));
    for version in VERSIONS {
        let error = handshake(version, Some((&device, &other))).unwrap_err();
        assert_eq!(error, Error::InvalidCertificate(CertificateError::BadSignature));
    }
}

#[test]
fn a_thumbprint_is_compared_without_case_and_either_digest_is_accepted() {
    let (device, other) = (device("any", (2026, 2027), None), device("any", (2026, 2027), None));
    let check = |primary: Option<String>, secondary: Option<String>, now| {
        let registered =
            Thumbprints { primary_thumbprint: primary, secondary_thumbprint: secondary };
        presented(&[&device]).check_thumbprint(&registered, now)
    };
    let sha1 = sha1_thumbprint(&device.certificate);
    let sha256 = sha256_thumbprint(&device.certificate);
    let wrong = sha256_thumbprint(&other.certificate);

    assert_eq!(check(Some(sha1.to_lowercase()), None, NOW), Ok(()));
    assert_eq!(check(Some(wrong.clone()), Some(sha256.clone()), NOW), Ok(()));
    assert_eq!(check(Some(wrong), None, NOW), Err(CertificateRefusal::Thumbprint));
    assert_eq!(check(None, None, NOW), Err(CertificateRefusal::Thumbprint));
    let years_later = NOW + 2 * 365 * 86_400;
    assert_eq!(check(Some(sha256.clone()), None, years_later), Err(CertificateRefusal::Time));
    let years_before = NOW - 2 * 365 * 86_400;
    assert_eq!(check(Some(sha256), None, years_before), Err(CertificateRefusal::Time));
}

#[test]
fn a_chain_must_lead_to_a_trusted_authority_and_name_the_device() {
    let root = authority("root", None);
    let intermediate = authority("intermediate", Some(&root));
    let valid = (2026, 2027);
    let leaf = device("d1", valid, Some(&intermediate));
    let check = |chain: &[&Signed], trusted: &[&Signed], id: &str| {
        presented(chain).check_chain(&trusting(trusted), id, NOW)
    };

    assert_eq!(check(&[&leaf, &intermediate], &[&root], "d1"), Ok(()));
    assert_eq!(check(&[&leaf, &intermediate, &root], &[&root], "d1"), Ok(()));
    assert_eq!(check(&[&leaf], &[&intermediate], "d1"), Ok(()));
    assert!(matches!(check(&[&leaf], &[&root], "d1"), Err(CertificateRefusal::Chain(_))));
    let other = authority("root", None);
    let refused = check(&[&leaf, &intermediate], &[&other], "d1");
    assert!(matches!(refused, Err(CertificateRefusal::Chain(_))), "{refused:?}");
    assert_eq!(check(&[&leaf, &intermediate], &[], "d1"), Err(CertificateRefusal::NoAuthorities));
    assert_eq!(check(&[], &[&root], "d1"), Err(CertificateRefusal::Absent));
    for id in ["d2", "D1"] {
        let refused = check(&[&leaf, &intermediate], &[&root], id);
        assert_eq!(refused, Err(CertificateRefusal::Name(id.to_owned())));
    }
    for years in [(2001, 2002), (2038, 2039)] {
        let leaf = device("d1", years, Some(&root));
        assert_eq!(check(&[&leaf], &[&root], "d1"), Err(CertificateRefusal::Time));
    }
}

/// An authority, and the certificate of version 1 that it has signed for the device `d1` with
/// `openssl x509 -req -in d1.csr -CA root.pem -CAkey root.key -set_serial 1 -days 36500`.
const VERSION_1: [&str; 2] = [
    "-----BEGIN CERTIFICATE-----
MIIBdTCCARugAwIBAgIUXUZqonT81yeJI60jggE34nnPW1cwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEcm9vdDAgFw0yNjExMzAxOTA2MzhaGA8yMTI2MTEwNjE5MDYz
OFowDzENMAsGA1UEAwwEcm9vdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABM9N
NPb7qIhgERkBP2II4v/ywhb8vVwvH7Zam0rQtSuHQGWJ6wVLDgXyfLUtIUddjQKt
Bb1f171NvWCAjRjZAaajUzBRMB0GA1UdDgQWBBT/rmZx6CcmvlZjyX2/FLEOpUyA
xDAfBgNVHSMEGDAWgBT/rmZx6CcmvlZjyX2/FLEOpUyAxDAPBgNVHRMBAf8EBTAD
AQH/MAoGCCqGSM49BAMCA0gAMEUCIQD1lQDivdwaHMJ3eexx55gVTR45tZ0KyZtt
19g/b5ZvRwIgeEOONT2bTYj4ARFIAau5mVMDd6hEoRjwI0xkzwzrQfQ=
-----END CERTIFICATE-----",
    "-----BEGIN CERTIFICATE-----
MIIBBjCBrAIBATAKBggqhkjOPQQDAjAPMQ0wCwYDVQQDDARyb290MCAXDTI2MTEz
MDE5MDYzOVoYDzIxMjYxMTA2MTkwNjM5WjANMQswCQYDVQQDDAJkMTBZMBMGByqG
SM49AgEGCCqGSM49AwEHA0IABMB2T4EZtwcSQBrPS/LEgHECA+XruijtbCoJfSsg
8tgAHmNiqZkXT46PM71mBZ0VqJfHwtzoCCWlyQZYvTxk+DQwCgYIKoZIzj0EAwID
SQAwRgIhAIImx+fLi34/BRklMd/PFryzAFVhJTXhIa9/Belras3GAiEA+tc6e5ym
x9XUyg1Lz2d/N0fpkedcWUVfgtXs2L9wPkA=
-----END CERTIFICATE-----",
];

#[test]
fn a_certificate_of_version_1_is_accepted_from_the_authority_that_signed_it() {
    let [root, leaf] = VERSION_1.map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap());
    let trusted = DeviceAuthorities::of_certificate(&root).unwrap();
    let year = 365 * 86_400;
    let check = |leaf: &CertificateDer<'static>, trusted: &DeviceAuthorities, id: &str, now| {
        presenting(std::slice::from_ref(leaf)).check_chain(trusted, id, now)
    };

    assert_eq!(check(&leaf, &trusted, "d1", NOW + year), Ok(()));
    let name = CertificateRefusal::Name("d2".to_owned());
    assert_eq!(check(&leaf, &trusted, "d2", NOW + year), Err(name));
    for now in [NOW, NOW + 101 * year] {
        assert_eq!(check(&leaf, &trusted, "d1", now), Err(CertificateRefusal::Time));
    }
    for other in [authority("root", None), authority("other", None)] {
        let refused = check(&leaf, &trusting(&[&other]), "d1", NOW + year);
        assert!(matches!(refused, Err(CertificateRefusal::Chain(_))), "{refused:?}");
    }
    let mut forged = leaf.to_vec();
    let at = forged.windows(2).position(|name| name == b"d1").unwrap();
    forged[at + 1] = b'2';
    let refused = check(&forged.into(), &trusted, "d2", NOW + year);
    assert!(matches!(refused, Err(CertificateRefusal::Chain(_))), "{refused:?}");
}
