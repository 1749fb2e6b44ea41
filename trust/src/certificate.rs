//! Facts about X.509 certificates.
//!
//! Unlike webpki, this module also reads certificates of version 1, which
//! `openssl x509 -req` creates unless it is given extensions. It reads signatures, but does not
//! verify them.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use yasna::models::ObjectIdentifier;
use yasna::tags::TAG_UTCTIME;
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, Tag, parse_der};

/// The largest version, X.509 version 3, as the number in a certificate (RFC 5280, section 4.1).
const MAX_VERSION: u8 = 2;

/// Object identifier of a common name (RFC 5280, appendix A.1).
const COMMON_NAME: &[u64] = &[2, 5, 4, 3];

/// Object identifier of the basic constraints (RFC 5280, section 4.2.1.9).
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];

/// Object identifier of a key on an elliptic curve (RFC 5480, section 2.1.1).
const EC: &[u64] = &[1, 2, 840, 10_045, 2, 1];

/// Object identifiers of P-256 and P-384 in DER, without tag and length (RFC 5480, section
/// 2.1.1.1).
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];

/// Object identifier of an RSA key (RFC 3279, section 2.3.1).
const RSA: &[u64] = &[1, 2, 840, 113_549, 1, 1, 1];

/// Facts about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The version of X.509: 1, 2 or 3.
    pub version: u8,
    /// The serial number, as hexadecimal digits in upper case.
    pub serial_number: String,
    /// The common name of the subject; `None` if there is none or more than one.
    pub common_name: Option<String>,
    /// The common name of the issuer.
    pub issuer: Option<String>,
    /// The name of the issuer: the contents of a `Name` in DER.
    pub issuer_name: Vec<u8>,
    /// The start of the validity, in Unix seconds.
    pub valid_from_unix: i64,
    /// The end of the validity, in Unix seconds.
    pub valid_until_unix: i64,
    /// `true` if the certificate belongs to an authority, which can sign others.
    pub is_authority: bool,
    /// `true` if the issuer is the subject itself.
    pub is_self_issued: bool,
    /// The size of an RSA key; `None` for other keys.
    pub rsa_bits: Option<usize>,
    /// The public key with its algorithm: a `SubjectPublicKeyInfo` in DER.
    pub public_key: Vec<u8>,
    /// The kind of the key.
    pub key_kind: KeyKind,
    /// The public key without its algorithm: a point of a curve, or an `RSAPublicKey` in DER.
    pub key_bits: Vec<u8>,
}

/// The kind of a public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// A key on the curve P-256.
    P256,
    /// A key on the curve P-384.
    P384,
    /// An RSA key.
    Rsa,
    /// A key of another kind.
    Other,
}

/// The signature of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSignature {
    /// The signed part: a `TBSCertificate` in DER.
    pub signed: Vec<u8>,
    /// The algorithm: the contents of an `AlgorithmIdentifier` in DER.
    pub algorithm: Vec<u8>,
    /// The value of the signature.
    pub value: Vec<u8>,
}

/// A text that is not a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an X.509 certificate")]
pub struct MalformedCertificate;

impl Certificate {
    /// Reads the facts from a certificate.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Certificate, MalformedCertificate> {
        let parsed = parse_der(der, |reader| {
            reader.read_sequence(|reader| {
                let facts = to_be_signed(reader.next())?;
                // The algorithm and the value of the signature.
                reader.next().read_der()?;
                reader.next().read_der()?;
                Ok(facts)
            })
        });
        parsed.map_err(|_| MalformedCertificate)
    }
}

impl CertificateSignature {
    /// Reads the signature of a certificate. Its other parts are not checked.
    pub fn parse(der: &CertificateDer<'_>) -> Result<CertificateSignature, MalformedCertificate> {
        let parsed = parse_der(der, |reader| {
            reader.read_sequence(|reader| {
                Ok(CertificateSignature {
                    signed: reader.next().read_der()?,
                    algorithm: contents(&reader.next().read_der()?)?,
                    value: reader.next().read_bitvec_bytes()?.0,
                })
            })
        });
        parsed.map_err(|_| MalformedCertificate)
    }
}

/// Returns the contents of a value in DER, without its tag and length.
fn contents(der: &[u8]) -> ASN1Result<Vec<u8>> {
    parse_der(der, |reader| Ok(reader.read_tagged_der()?.value().to_vec()))
}

/// Reads a `TBSCertificate` (RFC 5280, section 4.1).
fn to_be_signed(reader: BERReader<'_, '_>) -> ASN1Result<Certificate> {
    reader.read_sequence(|reader| {
        let version = reader
            .read_optional(|reader| reader.read_tagged(Tag::context(0), |it| it.read_u8()))?
            .unwrap_or(0);
        if version > MAX_VERSION {
            return Err(ASN1Error::new(ASN1ErrorKind::Invalid));
        }
        let serial_number = hex(reader.next().read_tagged_der()?.value());
        // The algorithm of the signature.
        reader.next().read_der()?;
        let issuer = reader.next().read_der()?;
        let (valid_from_unix, valid_until_unix) =
            reader.next().read_sequence(|it| Ok((time(it.next())?, time(it.next())?)))?;
        let subject = reader.next().read_der()?;
        let public_key = reader.next().read_der()?;
        for unique_id in [1, 2] {
            reader.read_optional(|reader| {
                reader.read_tagged_implicit(Tag::context(unique_id), |it| it.read_bitvec_bytes())
            })?;
        }
        let extensions = reader.read_optional(|it| {
            it.read_tagged(Tag::context(3), |it| has_authority_extension(it))
        })?;
        let (key_kind, key_bits) = kind_and_bits(&public_key)?;
        Ok(Certificate {
            version: version + 1,
            serial_number,
            common_name: common_name(&subject)?,
            issuer: common_name(&issuer)?,
            issuer_name: contents(&issuer)?,
            valid_from_unix,
            valid_until_unix,
            is_authority: extensions.unwrap_or(false),
            is_self_issued: issuer == subject,
            rsa_bits: rsa_bits(key_kind, &key_bits)?,
            public_key,
            key_kind,
            key_bits,
        })
    })
}

fn time(reader: BERReader<'_, '_>) -> ASN1Result<i64> {
    if reader.lookahead_tag()? == TAG_UTCTIME {
        return Ok(reader.read_utctime()?.datetime().unix_timestamp());
    }
    Ok(reader.read_generalized_time()?.datetime().unix_timestamp())
}

/// Returns the common name in a `Name`, if there is exactly one.
fn common_name(name: &[u8]) -> ASN1Result<Option<String>> {
    let mut found = Vec::new();
    parse_der(name, |reader| {
        reader.read_sequence_of(|reader| {
            reader.read_set_of(|reader| {
                reader.read_sequence(|reader| {
                    let kind = reader.next().read_oid()?;
                    let value = reader.next().read_tagged_der()?;
                    if is(&kind, COMMON_NAME) {
                        found.push(String::from_utf8(value.value().to_vec()).ok());
                    }
                    Ok(())
                })
            })
        })
    })?;
    Ok(match found.len() {
        1 => found.remove(0),
        _ => None,
    })
}

/// Returns `true` if the extensions mark the certificate as that of an authority.
fn has_authority_extension(reader: BERReader<'_, '_>) -> ASN1Result<bool> {
    let mut is_authority = false;
    reader.read_sequence_of(|reader| {
        reader.read_sequence(|reader| {
            let kind = reader.next().read_oid()?;
            reader.read_optional(|it| it.read_bool())?;
            let value = reader.next().read_bytes()?;
            if is(&kind, BASIC_CONSTRAINTS) {
                is_authority = parse_der(&value, |reader| {
                    reader.read_sequence(|reader| {
                        let is_authority = reader.read_optional(|it| it.read_bool())?;
                        reader.read_optional(|it| it.read_u64())?;
                        Ok(is_authority.unwrap_or(false))
                    })
                })?;
            }
            Ok(())
        })
    })?;
    Ok(is_authority)
}

/// Returns the kind of a public key, and the key without its algorithm.
fn kind_and_bits(public_key: &[u8]) -> ASN1Result<(KeyKind, Vec<u8>)> {
    parse_der(public_key, |reader| {
        reader.read_sequence(|reader| {
            let kind = reader.next().read_sequence(|reader| {
                let kind = reader.next().read_oid()?;
                let curve = reader.read_optional(|it| it.read_tagged_der())?;
                Ok(match curve.as_ref().map(|curve| curve.value()) {
                    Some(P256) if is(&kind, EC) => KeyKind::P256,
                    Some(P384) if is(&kind, EC) => KeyKind::P384,
                    _ if is(&kind, RSA) => KeyKind::Rsa,
                    _ => KeyKind::Other,
                })
            })?;
            Ok((kind, reader.next().read_bitvec_bytes()?.0))
        })
    })
}

/// Returns the size of a public key if it is one of RSA.
fn rsa_bits(kind: KeyKind, key: &[u8]) -> ASN1Result<Option<usize>> {
    if kind != KeyKind::Rsa {
        return Ok(None);
    }
    let modulus = parse_der(key, |reader| {
        reader.read_sequence(|reader| {
            let modulus = reader.next().read_tagged_der()?;
            reader.next().read_der()?;
            Ok(modulus)
        })
    })?;
    let zeros = modulus.value().iter().take_while(|byte| **byte == 0).count();
    Ok(Some(8 * (modulus.value().len() - zeros)))
}

fn is(found: &ObjectIdentifier, expected: &[u64]) -> bool {
    found.components().as_slice() == expected
}

/// Returns the SHA-256 thumbprint of the first certificate in a PEM text.
pub fn first_thumbprint(pem: &[u8]) -> Result<String, MalformedCertificate> {
    let der = CertificateDer::from_pem_slice(pem).map_err(|_| MalformedCertificate)?;
    Certificate::parse(&der)?;
    Ok(sha256_thumbprint(&der))
}

/// Returns the SHA-1 thumbprint of a certificate: 40 hexadecimal digits in upper case.
#[must_use]
pub fn sha1_thumbprint(der: &CertificateDer<'_>) -> String {
    hex(&Sha1::digest(der))
}

/// Returns the SHA-256 thumbprint of a certificate: 64 hexadecimal digits in upper case.
#[must_use]
pub fn sha256_thumbprint(der: &CertificateDer<'_>) -> String {
    hex(&Sha256::digest(der))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02X}").expect("a `String` can be written to");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_certificate_are_read() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "device-1");
        params.serial_number = Some(vec![1, 2, 255].into());
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 1, 2);
        let signed = params.self_signed(&key).unwrap();
        let facts = Certificate::parse(signed.der()).unwrap();
        assert_eq!(facts.common_name.as_deref(), Some("device-1"));
        assert_eq!(facts.valid_until_unix - facts.valid_from_unix, 86_400);
        assert!(facts.is_self_issued && !facts.is_authority);
        assert_eq!((facts.rsa_bits, facts.key_kind), (None, KeyKind::P256));
        assert_eq!(facts.key_bits, rcgen::PublicKeyData::der_bytes(&key));
        assert_eq!((facts.version, facts.serial_number.as_str()), (3, "0102FF"));
        let digits = (sha1_thumbprint(signed.der()).len(), sha256_thumbprint(signed.der()).len());
        assert_eq!(digits, (40, 64));
    }

    #[test]
    fn the_signature_of_a_certificate_is_separate_from_the_signed_part() {
        let key = rcgen::KeyPair::generate().unwrap();
        let signed = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let read = CertificateSignature::parse(signed.der()).unwrap();
        // ecdsa-with-SHA256 (RFC 5758, section 3.2).
        assert_eq!(read.algorithm, [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]);
        assert!(signed.der().ends_with(&read.value));
        assert!(signed.der().windows(read.signed.len()).any(|part| part == read.signed));
        let part = CertificateDer::from(read.signed);
        assert_eq!(CertificateSignature::parse(&part), Err(MalformedCertificate));
    }

    #[test]
    fn bytes_after_a_certificate_are_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let signed = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let mut bytes = signed.der().to_vec();
        bytes.push(0);
        assert_eq!(Certificate::parse(&bytes.into()), Err(MalformedCertificate));
        assert_eq!(Certificate::parse(&vec![1, 2, 3].into()), Err(MalformedCertificate));
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let key = rcgen::KeyPair::generate().unwrap();
        let signed = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        let mut bytes = signed.der().to_vec();
        let version = [0xa0, 3, 2, 1];
        let at = bytes.windows(4).position(|part| part == version).unwrap() + version.len();
        assert_eq!(bytes[at], MAX_VERSION);
        for unknown in [MAX_VERSION + 1, 0x7f] {
            bytes[at] = unknown;
            assert_eq!(Certificate::parse(&bytes.clone().into()), Err(MalformedCertificate));
        }
    }
}
