//! The decision whether a device may register, and by which enrollment.
//!
//! An individual enrollment precedes all groups. Among groups with certificates, the one whose
//! authority is closest to the device in its chain decides, even if it is disabled
//! (documentation of the Device Provisioning Service, "X.509 attestation").

use std::sync::Arc;

use protocol::provisioning::ProvisioningErrorCode;
use protocol::provisioning::enrollment::{CertificatePair, Enrollment, ProvisioningStatus};
use protocol::provisioning::service::EnrollmentKind;
use protocol::sas::{Key, SasToken};
use rustls::pki_types::CertificateDer;
use tracing::info;
use trust::sha256_thumbprint;

use super::device::Registrant;
use super::failure::ProvisioningFailure;
use super::{Provisioning, certificate, entry};
use crate::certificates::{CertificateRefusal, DeviceAuthorities, PeerCertificates};
use crate::stamps::now_unix;

/// Maximum number of groups that are considered for a device; a hub has no more.
pub(super) const MAX_GROUPS: usize = 100;

/// A device that may register, unless its enrollment is disabled.
pub(super) struct Admission {
    pub(super) enrollment: Arc<Enrollment>,
    /// The id of the group; `None` for an individual enrollment.
    pub(super) group: Option<String>,
    pub(super) credential: HubCredential,
}

/// The credential of a device at the hub.
pub(super) enum HubCredential {
    /// The primary and the secondary key.
    Keys(Key, Key),
    /// The thumbprint of the certificate.
    Thumbprint(String),
    /// A certificate that the hub issues with the registration.
    Issued,
}

/// Refusal of a device, with the reason for the log.
struct Denial {
    code: ProvisioningErrorCode,
    reason: String,
}

impl Admission {
    /// Returns `true` if the enrollment permits to register.
    pub(super) fn is_enabled(&self) -> bool {
        self.enrollment.provisioning_status != Some(ProvisioningStatus::Disabled)
    }
}

impl From<CertificateRefusal> for Denial {
    fn from(refusal: CertificateRefusal) -> Denial {
        invalid_certificate(refusal.to_string())
    }
}

fn unauthorized(reason: impl Into<String>) -> Denial {
    Denial { code: ProvisioningErrorCode::Unauthorized, reason: reason.into() }
}

fn invalid_certificate(reason: impl Into<String>) -> Denial {
    Denial { code: ProvisioningErrorCode::InvalidCertificate, reason: reason.into() }
}

fn not_enrolled(reason: &str) -> Denial {
    Denial { code: ProvisioningErrorCode::EnrollmentNotFound, reason: reason.to_owned() }
}

impl Provisioning {
    /// Returns the enrollment that admits the device. Logs the reason of a refusal, which the
    /// device does not learn.
    pub(super) fn admit(&self, registrant: &Registrant) -> Result<Admission, ProvisioningFailure> {
        self.decide(registrant).map_err(|Denial { code, reason }| {
            info!(registration = %registrant.registration, %code, %reason, "registration refused");
            code.into()
        })
    }

    fn decide(&self, registrant: &Registrant) -> Result<Admission, Denial> {
        let Registrant { scope, registration, token, peer, .. } = registrant;
        if !scope.as_str().eq_ignore_ascii_case(self.id_scope().as_str()) {
            let own = self.id_scope();
            return Err(unauthorized(format!("id scope `{scope}`; that of this hub is `{own}`")));
        }
        let individual = self.state.enrollment(EnrollmentKind::Individual, registration.as_str());
        match token.as_deref().filter(|text| !text.is_empty()) {
            Some(text) => self.by_token(registrant, text, individual),
            None if peer.certificates.leaf().is_some() => {
                self.by_certificate(registrant, &peer.certificates, individual)
            }
            None => Err(unauthorized("neither a token nor a certificate")),
        }
    }

    fn by_token(
        &self,
        Registrant { scope, registration, .. }: &Registrant,
        text: &str,
        individual: Option<Arc<Enrollment>>,
    ) -> Result<Admission, Denial> {
        let token: SasToken =
            text.parse().map_err(|_| unauthorized("the password is not a SAS token"))?;
        if !token.covers_registration(scope, registration) {
            return Err(unauthorized("the token is for another registration"));
        }
        if token.expired_at(now_unix()) {
            return Err(unauthorized(format!("the token expired at {}", token.expiry())));
        }
        let admitted = |enrollment, group, (primary, secondary): (Key, Key)| {
            let verified = token.verify(&primary) || token.verify(&secondary);
            let credential = HubCredential::Keys(primary, secondary);
            verified.then_some(Admission { enrollment, group, credential })
        };
        if let Some(enrollment) = individual {
            let keys = entry::keys(&enrollment)
                .ok_or_else(|| unauthorized("a token, but the enrollment needs a certificate"))?;
            return admitted(enrollment, None, keys).ok_or_else(|| {
                unauthorized("the token is not signed with a key of the enrollment")
            });
        }
        let groups = self.state.enrollments(EnrollmentKind::Group, None, MAX_GROUPS);
        let keys = |group: &Enrollment| entry::keys(group);
        let mut groups: Vec<_> =
            groups.into_iter().filter_map(|(_, group)| Some((keys(&group)?, group))).collect();
        if groups.is_empty() {
            return Err(not_enrolled("no enrollment has this id, and no group has keys"));
        }
        let derive = |key: Key| key.derive(registration);
        let found = groups.drain(..).find_map(|((primary, secondary), group)| {
            let id = group.enrollment_group_id.clone();
            admitted(group, id, (derive(primary), derive(secondary)))
        });
        found.ok_or_else(|| unauthorized("the token is not signed with a derived key of a group"))
    }

    fn by_certificate(
        &self,
        registrant: &Registrant,
        peer: &PeerCertificates,
        individual: Option<Arc<Enrollment>>,
    ) -> Result<Admission, Denial> {
        let facts = peer.facts()?;
        let leaf = peer.leaf().ok_or(CertificateRefusal::Absent)?;
        let now = now_unix();
        let valid = facts.valid_from_unix..=facts.valid_until_unix;
        if !valid.contains(&i64::try_from(now).unwrap_or(i64::MAX)) {
            return Err(CertificateRefusal::Time.into());
        }
        let id = registrant.registration.as_str();
        if !facts.common_name.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(id)) {
            return Err(CertificateRefusal::Name(id.to_owned()).into());
        }
        let credential = HubCredential::Thumbprint(sha256_thumbprint(leaf));
        let Some(enrollment) = individual else {
            return self.by_group_certificate(peer, credential, now);
        };
        let x509 = enrollment.attestation.x509.clone().unwrap_or_default();
        if let Some(pair) = &x509.client_certificates {
            if !certificates(pair).any(|enrolled| enrolled == *leaf) {
                return Err(invalid_certificate("the certificate is not that of the enrollment"));
            }
            if !facts.is_self_issued {
                peer.check_signatures(&self.authorities, now)?;
            }
        } else {
            let names = x509.ca_references.unwrap_or_default();
            let mut authorities = [names.primary, names.secondary].into_iter().flatten();
            let signed = authorities.any(|name| self.is_signed_by_name(peer, &name, now));
            if !signed {
                let reason = "the enrollment does not admit a certificate of this authority";
                return Err(invalid_certificate(reason));
            }
        }
        Ok(Admission { enrollment, group: None, credential })
    }

    fn by_group_certificate(
        &self,
        peer: &PeerCertificates,
        credential: HubCredential,
        now: u64,
    ) -> Result<Admission, Denial> {
        let groups = self.state.enrollments(EnrollmentKind::Group, None, MAX_GROUPS);
        let mut with_certificates =
            groups.into_iter().filter(|(_, group)| group.attestation.x509.is_some()).peekable();
        if with_certificates.peek().is_none() {
            return Err(not_enrolled("no enrollment has this id, and no group has certificates"));
        }
        let closest = with_certificates
            .filter_map(|(_, group)| Some((self.distance(peer, &group, now)?, group)))
            .min_by_key(|(distance, _)| *distance);
        let Some((distance, enrollment)) = closest else {
            return Err(invalid_certificate("no group has an authority of this certificate"));
        };
        let group = enrollment.enrollment_group_id.clone();
        if !distance.is_verified {
            let id = group.unwrap_or_default();
            return Err(invalid_certificate(format!(
                "the chain does not end in a verified authority, and neither does that of the \
                 group `{id}`; --device-ca-file names verified authorities"
            )));
        }
        Ok(Admission { enrollment, group, credential })
    }

    /// Returns the distance between a device and the authority of a group. Returns `None` if
    /// the authority has not signed the device's certificate.
    fn distance(&self, peer: &PeerCertificates, group: &Enrollment, now: u64) -> Option<Distance> {
        let x509 = group.attestation.x509.as_ref()?;
        if let Some(pair) = &x509.signing_certificates {
            let signed = |der: &CertificateDer<'static>| {
                let authority = DeviceAuthorities::of_certificate(der);
                authority.is_some_and(|it| peer.check_signatures(&it, now).is_ok())
            };
            return certificates(pair)
                .filter(signed)
                .map(|der| Distance {
                    certificates: peer.distance(&der),
                    is_verified: self.authorities.contain(&der)
                        || peer.check_signatures(&self.authorities, now).is_ok(),
                })
                .min();
        }
        let names = x509.ca_references.as_ref()?;
        let mut names = names.primary.iter().chain(&names.secondary);
        let signed = names.any(|name| self.is_signed_by_name(peer, name, now));
        signed.then_some(Distance { certificates: usize::MAX, is_verified: true })
    }

    fn is_signed_by_name(&self, peer: &PeerCertificates, name: &str, now: u64) -> bool {
        let authority = self.authorities.of_name(name);
        authority.is_some_and(|authority| peer.check_signatures(&authority, now).is_ok())
    }
}

/// The distance between a device and the authority of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Distance {
    /// Number of certificates between them; the largest number for a root of the hub.
    certificates: usize,
    /// `true` if the chain ends in a verified authority.
    is_verified: bool,
}

fn certificates(pair: &CertificatePair) -> impl Iterator<Item = CertificateDer<'static>> {
    pair.primary.iter().chain(&pair.secondary).filter_map(certificate::of)
}
