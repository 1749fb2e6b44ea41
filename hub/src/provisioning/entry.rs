//! Validation of the enrollments that services write, and the views that they read.

use protocol::provisioning::enrollment::{
    AllocationPolicy, Attestation, CertificatePair, EnrolledCertificate, Enrollment,
    ProvisioningStatus, ReprovisionPolicy, SYMMETRIC_KEY, X509, X509Attestation,
};
use protocol::provisioning::service::EnrollmentKind;
use protocol::provisioning::{ProvisioningErrorCode, RegistrationId};
use protocol::registry::SymmetricKeys;
use protocol::sas::Key;
use serde_json::{Value, json};

use super::certificate;
use super::failure::ProvisioningFailure;
use crate::certificates::DeviceAuthorities;
use crate::stamps::{guid, now};
use crate::state::{TwinChange, random_bytes};

/// The allowed sizes of a key, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 16..=64;

/// Parses the id of an enrollment or a group. Both have the characters of registration ids.
pub(super) fn id(id: &str) -> Result<RegistrationId, ProvisioningFailure> {
    id.parse()
        .map_err(|error: protocol::id::IdError| ProvisioningFailure::invalid(error.to_string()))
}

/// Returns the enrollment to store for a request. `current` is the stored one.
pub(super) fn checked(
    kind: EnrollmentKind,
    id: &RegistrationId,
    mut entry: Enrollment,
    current: Option<&Enrollment>,
    authorities: &DeviceAuthorities,
) -> Result<Enrollment, ProvisioningFailure> {
    let (own, other) = match kind {
        EnrollmentKind::Individual => (&mut entry.registration_id, &mut entry.enrollment_group_id),
        EnrollmentKind::Group => (&mut entry.enrollment_group_id, &mut entry.registration_id),
    };
    if own.as_deref().is_some_and(|own| !own.eq_ignore_ascii_case(id.as_str())) {
        let message = "the ids in the path and in the body differ";
        return Err(ProvisioningFailure::invalid(message));
    }
    // An id keeps the spelling in which it was created.
    let stored = current.and_then(|current| match kind {
        EnrollmentKind::Individual => current.registration_id.clone(),
        EnrollmentKind::Group => current.enrollment_group_id.clone(),
    });
    *own = Some(stored.unwrap_or_else(|| id.to_string()));
    *other = None;
    if kind == EnrollmentKind::Group && entry.device_id.is_some() {
        return Err(ProvisioningFailure::invalid("an enrollment group has no deviceId"));
    }
    let before = current.map(|current| &current.attestation);
    entry.attestation = attestation(kind, entry.attestation, before, authorities)?;
    if entry.allocation_policy == Some(AllocationPolicy::Custom) {
        let message = "this hub does not support the allocationPolicy `custom`";
        return Err(ProvisioningFailure::invalid(message));
    }
    if let Some(twin) = entry.initial_twin.clone() {
        TwinChange::parse(twin).and_then(TwinChange::check).map_err(|error| {
            ProvisioningFailure::invalid(format!("initialTwin: {}", error.message))
        })?;
    }
    entry.allocation_policy.get_or_insert(AllocationPolicy::Hashed);
    entry.provisioning_status.get_or_insert(ProvisioningStatus::Enabled);
    entry.reprovision_policy.get_or_insert(ReprovisionPolicy::default());
    entry.capabilities.get_or_insert_default();
    entry.registration_state = None;
    let now = now();
    let created = current.and_then(|current| current.created_date_time_utc.clone());
    entry.created_date_time_utc = Some(created.unwrap_or_else(|| now.clone()));
    entry.last_updated_date_time_utc = Some(now);
    entry.etag = Some(guid());
    Ok(entry)
}

fn attestation(
    kind: EnrollmentKind,
    mut attestation: Attestation,
    before: Option<&Attestation>,
    authorities: &DeviceAuthorities,
) -> Result<Attestation, ProvisioningFailure> {
    let is = |kind: &str| attestation.kind.eq_ignore_ascii_case(kind);
    if is(SYMMETRIC_KEY) {
        let before = before.and_then(|before| before.symmetric_key.clone()).unwrap_or_default();
        let keys = attestation.symmetric_key.take().unwrap_or_default();
        let primary = key("primaryKey", keys.primary_key, before.primary_key)?;
        let secondary = key("secondaryKey", keys.secondary_key, before.secondary_key)?;
        return Ok(Attestation::symmetric_key(Some(primary), Some(secondary)));
    }
    if is(X509) {
        let x509 = attestation.x509.take().unwrap_or_default();
        return Ok(Attestation::x509(x509_attestation(kind, x509, authorities)?));
    }
    let kind = json::readable(&attestation.kind);
    let message = format!("attestation type `{kind}`; this hub supports symmetricKey and x509");
    Err(ProvisioningFailure::invalid(message))
}

/// Checks a key. Keeps or generates a missing one.
fn key(
    name: &str,
    requested: Option<String>,
    before: Option<String>,
) -> Result<String, ProvisioningFailure> {
    let Some(text) = requested.filter(|text| !text.is_empty()).or(before) else {
        let bytes = random_bytes::<64>().map_err(|error| {
            ProvisioningFailure::new(ProvisioningErrorCode::Internal, error.to_string())
        })?;
        let key = Key::from_bytes(&bytes).expect("64 bytes are a key");
        return Ok(key.to_base64());
    };
    let key: Key = text
        .parse()
        .map_err(|_| ProvisioningFailure::invalid(format!("{name} is not a base64 key")))?;
    match KEY_BYTES.contains(&key.length()) {
        true => Ok(key.to_base64()),
        false => {
            let message = format!("{name} has {} bytes; 16 to 64 are allowed", key.length());
            Err(ProvisioningFailure::invalid(message))
        }
    }
}

fn x509_attestation(
    kind: EnrollmentKind,
    x509: X509Attestation,
    authorities: &DeviceAuthorities,
) -> Result<X509Attestation, ProvisioningFailure> {
    let X509Attestation { client_certificates, signing_certificates, ca_references } = x509;
    match (kind, client_certificates, signing_certificates, ca_references) {
        (EnrollmentKind::Individual, Some(pair), None, None) => Ok(X509Attestation {
            client_certificates: Some(certificates("clientCertificates", pair)?),
            ..X509Attestation::default()
        }),
        (EnrollmentKind::Group, None, Some(pair), None) => Ok(X509Attestation {
            signing_certificates: Some(certificates("signingCertificates", pair)?),
            ..X509Attestation::default()
        }),
        (_, None, None, Some(references)) => {
            if references.primary.is_none() {
                return Err(ProvisioningFailure::invalid("caReferences has no primary"));
            }
            let names = references.primary.iter().chain(&references.secondary);
            let mut unknown = names.filter(|name| authorities.of_name(name).is_none());
            if let Some(name) = unknown.next() {
                let name = json::readable(name);
                let message = format!("caReferences: this hub trusts no authority `{name}`");
                return Err(ProvisioningFailure::invalid(message));
            }
            Ok(X509Attestation { ca_references: Some(references), ..X509Attestation::default() })
        }
        (EnrollmentKind::Individual, ..) => Err(ProvisioningFailure::invalid(
            "x509 of an individual enrollment has clientCertificates or caReferences",
        )),
        (EnrollmentKind::Group, ..) => Err(ProvisioningFailure::invalid(
            "x509 of an enrollment group has signingCertificates or caReferences",
        )),
    }
}

/// Checks the certificates of a pair and adds the facts about them.
fn certificates(name: &str, pair: CertificatePair) -> Result<CertificatePair, ProvisioningFailure> {
    let read = |place: &str, enrolled: EnrolledCertificate| {
        let invalid = || {
            let message = format!("{name}.{place}.certificate is not an X.509 certificate");
            ProvisioningFailure::invalid(message)
        };
        let info = certificate::of(&enrolled).as_ref().and_then(certificate::info);
        let info = Some(info.ok_or_else(invalid)?);
        Ok::<_, ProvisioningFailure>(EnrolledCertificate { info, ..enrolled })
    };
    // The Node client sends an empty secondary certificate in place of none.
    let is_set =
        |it: &EnrolledCertificate| it.certificate.as_ref().is_some_and(|it| !it.is_empty());
    let primary = pair.primary.map(|primary| read("primary", primary)).transpose()?;
    let secondary = pair.secondary.filter(is_set);
    let secondary = secondary.map(|secondary| read("secondary", secondary)).transpose()?;
    if primary.is_none() {
        return Err(ProvisioningFailure::invalid(format!("{name} has no primary")));
    }
    Ok(CertificatePair { primary, secondary })
}

/// Returns an enrollment as services see it after they have written it, with its keys.
pub(super) fn view_with_keys(entry: &Enrollment) -> Value {
    let mut view = serde_json::to_value(entry).expect("enrollments are plain data");
    if let Some(etag) = &entry.etag {
        // The etags of the service in Azure contain their quotes.
        view["etag"] = json!(format!("\"{etag}\""));
    }
    view
}

/// Returns an enrollment as services read it, without its keys.
pub(super) fn view(entry: &Enrollment) -> Value {
    let mut view = view_with_keys(entry);
    if entry.attestation.symmetric_key.is_some() {
        view["attestation"][SYMMETRIC_KEY] = json!({});
    }
    view
}

/// Returns the keys of an enrollment; none for one with certificates.
pub(super) fn keys(entry: &Enrollment) -> Option<(Key, Key)> {
    let SymmetricKeys { primary_key, secondary_key } = entry.attestation.symmetric_key.as_ref()?;
    Some((primary_key.as_ref()?.parse().ok()?, secondary_key.as_ref()?.parse().ok()?))
}
