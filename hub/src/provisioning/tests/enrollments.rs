//! Tests of the service API.

use protocol::provisioning::ProvisioningErrorCode as Code;
use protocol::provisioning::service::BulkMode;

use super::*;

const INDIVIDUAL: EnrollmentKind = EnrollmentKind::Individual;
const GROUP: EnrollmentKind = EnrollmentKind::Group;

fn rig() -> Rig {
    Rig::new(DeviceAuthorities::default())
}

fn with_keys() -> Value {
    json!({ "attestation": { "type": "symmetricKey" } })
}

#[test]
fn a_write_needs_the_current_etag_or_none_if_the_enrollment_is_new() {
    let rig = rig();
    let write = |if_match: &IfMatch| {
        let entry = serde_json::from_value(with_keys()).unwrap();
        let written = rig.service.write_enrollment(INDIVIDUAL, "d1", entry, if_match);
        written.map(|written| written.etag.clone().unwrap()).map_err(|failure| failure.code)
    };
    assert_eq!(write(&IfMatch::Any), Err(Code::EnrollmentNotFound));
    let first = write(&IfMatch::Absent).unwrap();
    assert_eq!(write(&IfMatch::Absent), Err(Code::Conflict));
    // .NET sends the etag, which has quotes, in quotes.
    let second = write(&IfMatch::parse(Some(&format!("\"\"{first}\"\"")))).unwrap();
    assert_eq!(write(&IfMatch::parse(Some(&first))), Err(Code::PreconditionFailed));
    assert!(write(&IfMatch::parse(Some(&second))).is_ok());
    let delete = |if_match: &IfMatch| {
        let deleted = rig.service.delete_enrollment(INDIVIDUAL, "D1", if_match);
        deleted.map_err(|failure| failure.code)
    };
    assert_eq!(delete(&IfMatch::parse(Some(&second))), Err(Code::PreconditionFailed));
    assert_eq!(delete(&IfMatch::Absent), Ok(()));
    assert_eq!(delete(&IfMatch::Any), Err(Code::EnrollmentNotFound));
}

#[test]
fn keys_are_generated_kept_and_shown_only_on_request() {
    let rig = rig();
    let created = rig.enroll(GROUP, "fleet", with_keys());
    let (primary, secondary) = entry::keys(&created).unwrap();
    assert_eq!((primary.length(), secondary.length()), (64, 64));
    let updated = rig.enroll(GROUP, "fleet", with_keys());
    assert_eq!(entry::keys(&updated), Some((primary.clone(), secondary)));
    let view = rig.service.enrollment_view(GROUP, "FLEET").unwrap();
    assert_eq!(view["attestation"], json!({ "type": "symmetricKey", "symmetricKey": {} }));
    assert_eq!(view["reprovisionPolicy"]["migrateDeviceData"], true);
    assert_eq!(view["provisioningStatus"], "enabled");
    let attestation = rig.service.attestation(GROUP, "fleet").unwrap();
    assert_eq!(attestation["symmetricKey"]["primaryKey"], primary.to_base64());
}

#[test]
fn an_invalid_enrollment_is_refused_with_its_reason() {
    let rig = rig();
    let short = json!({ "primaryKey": "AAAA" });
    let x509 = |x509: Value| json!({ "attestation": { "type": "x509", "x509": x509 } });
    let mut with_webhook = with_keys();
    with_webhook["allocationPolicy"] = json!("custom");
    let mut with_twin = with_keys();
    with_twin["initialTwin"] = json!({ "tags": 1 });
    let mut with_other_id = with_keys();
    with_other_id["registrationId"] = json!("d2");
    for (kind, entry, message) in [
        (
            INDIVIDUAL,
            json!({ "attestation": { "type": "tpm" } }),
            "attestation type `tpm`; this hub supports symmetricKey and x509",
        ),
        (
            INDIVIDUAL,
            json!({ "attestation": { "type": "symmetricKey", "symmetricKey": short } }),
            "primaryKey has 3 bytes; 16 to 64 are allowed",
        ),
        (
            GROUP,
            x509(json!({ "signingCertificates": { "primary": { "certificate": "x" } } })),
            "signingCertificates.primary.certificate is not an X.509 certificate",
        ),
        (
            GROUP,
            x509(json!({ "clientCertificates": {} })),
            "x509 of an enrollment group has signingCertificates or caReferences",
        ),
        (
            GROUP,
            x509(json!({ "caReferences": { "primary": "root" } })),
            "caReferences: this hub trusts no authority `root`",
        ),
        (INDIVIDUAL, with_webhook, "this hub does not support the allocationPolicy `custom`"),
        (INDIVIDUAL, with_twin, "initialTwin: tags is not a JSON object"),
        (INDIVIDUAL, with_other_id, "the ids in the path and in the body differ"),
    ] {
        let entry = serde_json::from_value(entry).unwrap();
        let refused = rig.service.write_enrollment(kind, "d1", entry, &IfMatch::Absent);
        let failure = refused.unwrap_err();
        assert_eq!((failure.code, failure.message.as_str()), (Code::BadRequest, message));
    }
    let entry: Enrollment = serde_json::from_value(with_keys()).unwrap();
    let refused = rig.service.write_enrollment(INDIVIDUAL, "d 1", entry, &IfMatch::Absent);
    let message = refused.unwrap_err().message;
    assert_eq!(message, "registration id `d 1` has a ' ', which is not allowed");
}

#[test]
fn pages_continue_after_the_last_id() {
    let rig = rig();
    for id in ["d3", "D1", "d2"] {
        rig.enroll(INDIVIDUAL, id, with_keys());
    }
    let ids = |page: &DocumentPage| {
        let ids = page.items.iter().map(|item| item["registrationId"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let first = rig.service.enrollments(INDIVIDUAL, None, 2);
    assert_eq!((ids(&first), first.next.as_deref()), (vec!["D1".into(), "d2".into()], Some("d2")));
    let last = rig.service.enrollments(INDIVIDUAL, first.next.as_deref(), 2);
    assert_eq!((ids(&last), last.next), (vec!["d3".to_owned()], None));
}

#[test]
fn a_bulk_request_reports_each_failed_item() {
    let rig = rig();
    rig.enroll(INDIVIDUAL, "d1", with_keys());
    let items = || {
        ["d1", "d2"].map(|id| {
            let mut item = with_keys();
            item["registrationId"] = json!(id);
            serde_json::from_value::<Enrollment>(item).unwrap()
        })
    };
    let run = |mode: BulkMode| {
        let enrollments = Some(items().into());
        let request = protocol::provisioning::service::BulkRequest {
            mode,
            enrollments,
            enrollment_groups: None,
        };
        let result = rig.service.bulk(INDIVIDUAL, request).unwrap();
        assert_eq!(result.is_successful, result.errors.is_empty());
        let errors = result.errors.into_iter();
        errors.map(|e| (e.registration_id.unwrap(), e.error_code)).collect::<Vec<_>>()
    };
    assert_eq!(run(BulkMode::Create), [("d1".to_owned(), 409_000)]);
    assert_eq!(run(BulkMode::Update), []);
    assert_eq!(run(BulkMode::Delete), []);
    let missing = [("d1".to_owned(), 404_201), ("d2".to_owned(), 404_201)];
    assert_eq!(run(BulkMode::Delete), missing);
}

#[test]
fn a_deleted_registration_makes_the_next_one_the_first() {
    let rig = rig();
    let group = rig.enroll(GROUP, "fleet", with_keys());
    let (primary, _) = entry::keys(&group).unwrap();
    let registrant = rig.registrant("sn-1", &primary.derive(&"sn-1".parse().unwrap()));
    rig.register(&registrant).unwrap();
    let query = RegistrationQuery { group: "Fleet".into(), after: None, limit: 10 };
    let page = rig.service.registrations(&query).unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0]["assignedHub"], "localhost");
    let etag = rig.service.registration_view("SN-1").unwrap()["etag"].clone();
    let condition = IfMatch::parse(etag.as_str());
    rig.service.delete_registration("sn-1", &condition).unwrap();
    assert_eq!(rig.service.registrations(&query).unwrap().items.len(), 0);
    assert_eq!(rig.service.registration_view("sn-1").unwrap_err().code, Code::RegistrationNotFound);
    let state = rig.register(&registrant).unwrap();
    let expected = protocol::provisioning::AssignmentSubstatus::ReprovisionedToInitialAssignment;
    assert_eq!(state.substatus, Some(expected));
}
