//! Certificates in enrollments.
//!
//! Clients send them as PEM (Node, Azure CLI), as base64 of DER (.NET) and as base64 of PEM
//! (C).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use protocol::provisioning::CertificateInfo;
use protocol::provisioning::enrollment::EnrolledCertificate;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use trust::{Certificate, sha1_thumbprint, sha256_thumbprint};

const PEM_BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// Parses a certificate in any of the formats of the clients.
pub(super) fn parse(text: &str) -> Option<CertificateDer<'static>> {
    let der = match text.contains(PEM_BEGIN) {
        true => pem(text.as_bytes())?,
        false => {
            let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            let bytes = STANDARD.decode(text).ok()?;
            match bytes.windows(PEM_BEGIN.len()).any(|part| part == PEM_BEGIN.as_bytes()) {
                true => pem(&bytes)?,
                false => bytes.into(),
            }
        }
    };
    Certificate::parse(&der).ok().map(|_| der)
}

fn pem(text: &[u8]) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(text).ok()
}

/// Returns the facts about a certificate that answers contain.
pub(super) fn info(der: &CertificateDer<'_>) -> Option<CertificateInfo> {
    let facts = Certificate::parse(der).ok()?;
    let name = |name: Option<String>| format!("CN={}", name.unwrap_or_default());
    let time = |unix: i64| Timestamp::from_second(unix).ok().map(|time| time.to_string());
    Some(CertificateInfo {
        subject_name: name(facts.common_name),
        sha1_thumbprint: sha1_thumbprint(der),
        sha256_thumbprint: sha256_thumbprint(der),
        issuer_name: name(facts.issuer),
        not_before_utc: time(facts.valid_from_unix)?,
        not_after_utc: time(facts.valid_until_unix)?,
        serial_number: facts.serial_number,
        version: facts.version.into(),
    })
}

/// Returns the certificate of an entry that has been checked.
pub(super) fn of(enrolled: &EnrolledCertificate) -> Option<CertificateDer<'static>> {
    parse(enrolled.certificate.as_deref()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_read_in_the_formats_of_all_clients() {
        let key = rcgen::KeyPair::generate().unwrap();
        let signed = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        for text in [signed.pem(), STANDARD.encode(signed.der()), STANDARD.encode(signed.pem())] {
            assert_eq!(parse(&text).as_ref(), Some(signed.der()), "{text}");
        }
        for text in ["", "x", "AAAA", "-----BEGIN CERTIFICATE-----"] {
            assert_eq!(parse(text), None, "{text}");
        }
        let info = info(signed.der()).unwrap();
        assert_eq!((info.version, info.sha1_thumbprint.len()), (3, 40));
        assert!(info.not_before_utc.ends_with('Z'), "{}", info.not_before_utc);
    }
}
