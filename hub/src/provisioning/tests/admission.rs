//! Tests of the credentials of devices.

use protocol::provisioning::AssignmentStatus;
use protocol::provisioning::ProvisioningErrorCode as Code;

use super::*;
use crate::certificates::tests::{Signed, authority, device, presented, trusting};
use crate::state::Owner;

const GROUP: EnrollmentKind = EnrollmentKind::Group;
const YEARS: (i32, i32) = (2020, 2040);

fn pem(signed: &Signed) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(&signed.certificate)
}

fn individual(certificate: &Signed) -> Value {
    let certificates = json!({ "primary": { "certificate": pem(certificate) } });
    json!({ "attestation": { "type": "x509", "x509": { "clientCertificates": certificates } } })
}

fn group_of(authority: &Signed) -> Value {
    let certificates = json!({ "primary": { "certificate": pem(authority) } });
    json!({ "attestation": { "type": "x509", "x509": { "signingCertificates": certificates } } })
}

#[test]
fn a_device_registers_with_either_key_of_its_enrollment_and_signs_in_with_it() {
    let rig = Rig::new(DeviceAuthorities::default());
    let entry = json!({ "attestation": { "type": "symmetricKey" }, "deviceId": "device-7" });
    let entry = rig.enroll(EnrollmentKind::Individual, "SN-7", entry);
    let (primary, secondary) = entry::keys(&entry).unwrap();
    for key in [&primary, &secondary] {
        // Case does not distinguish registration ids.
        let state = rig.register(&rig.registrant("sn-7", key)).unwrap();
        assert_eq!(state.status, AssignmentStatus::Assigned);
        assert_eq!(state.device_id.unwrap().as_str(), "device-7");
        assert_eq!(state.assigned_hub.as_deref(), Some("localhost:18883"));
    }
    let created = rig.state.create_device(&"device-7".parse().unwrap());
    assert!(created.is_err(), "the device exists");
    let device = Owner::device(&"device-7".parse().unwrap());
    let credential = rig.state.registered(device, "localhost".parse().unwrap()).unwrap().credential;
    assert_eq!(credential, protocol::connection_string::DeviceCredential::Key(primary));
}

#[test]
fn a_device_of_a_group_needs_a_derived_key() {
    let rig = Rig::new(DeviceAuthorities::default());
    let group = json!({ "attestation": { "type": "symmetricKey" } });
    let (primary, secondary) = entry::keys(&rig.enroll(GROUP, "fleet", group)).unwrap();
    let id = "sn-8".parse().unwrap();
    for key in [primary.derive(&id), secondary.derive(&id)] {
        let state = rig.register(&rig.registrant("sn-8", &key)).unwrap();
        let group = state.symmetric_key.unwrap().enrollment_group_id;
        assert_eq!(group.as_deref(), Some("fleet"));
    }
    let group_key = rig.registrant("sn-8", &primary);
    assert_eq!(rig.register(&group_key), Err(Code::Unauthorized.number()));
    let of_another = rig.registrant("sn-8", &primary.derive(&"sn-9".parse().unwrap()));
    assert_eq!(rig.register(&of_another), Err(Code::Unauthorized.number()));
}

#[test]
fn a_wrong_scope_a_wrong_token_and_an_unknown_id_have_their_codes() {
    let rig = Rig::new(DeviceAuthorities::default());
    let key = rig.with_key("d1");
    let good = rig.registrant("d1", &key);
    let unauthorized = Err(Code::Unauthorized.number());
    let scope = "0neFFFFFFFF".parse().unwrap();
    assert_eq!(rig.register(&Registrant { scope, ..good.clone() }), unauthorized);
    let resource = resource(&good.scope, &good.registration);
    let expired = sign(&resource, None, &key, now_unix() - 1).to_string();
    let other = sign("0ne00000000/registrations/d2", None, &key, now_unix() + 60).to_string();
    for token in [Some(expired), Some(other), Some("nonsense".to_owned()), None] {
        assert_eq!(rig.register(&Registrant { token, ..good.clone() }), unauthorized);
    }
    let unknown = rig.registrant("stranger", &key);
    assert_eq!(rig.register(&unknown), Err(Code::EnrollmentNotFound.number()));
}

#[test]
fn a_disabled_enrollment_is_reported_as_such_after_the_credentials_were_checked() {
    let rig = Rig::new(DeviceAuthorities::default());
    let entry = json!({
        "attestation": { "type": "symmetricKey" },
        "provisioningStatus": "disabled",
    });
    let entry = rig.enroll(EnrollmentKind::Individual, "d1", entry);
    let (key, _) = entry::keys(&entry).unwrap();
    let state = rig.register(&rig.registrant("d1", &key)).unwrap();
    assert_eq!(state.status, AssignmentStatus::Disabled);
    assert_eq!((state.assigned_hub, state.device_id), (None, None));
    let wrong = rig.registrant("d1", &Key::from_bytes(&[1; 32]).unwrap());
    assert_eq!(rig.register(&wrong), Err(Code::Unauthorized.number()));
}

#[test]
fn an_individual_certificate_becomes_the_thumbprint_of_the_device() {
    let rig = Rig::new(DeviceAuthorities::default());
    let certificate = device("d1", YEARS, None);
    rig.enroll(EnrollmentKind::Individual, "d1", individual(&certificate));
    let registrant = rig.with_certificates("d1", presented(&[&certificate]));
    let state = rig.register(&registrant).unwrap();
    assert_eq!(state.x509.unwrap().enrollment_group_id, None);
    let thumbprint = sha256(&certificate);
    assert_eq!(rig.twin("d1")["authenticationType"], "selfSigned");
    assert_eq!(rig.twin("d1")["x509Thumbprint"]["primaryThumbprint"], thumbprint);

    // A renewed certificate works after another registration.
    let renewed = device("d1", YEARS, None);
    let refused = rig.register(&rig.with_certificates("d1", presented(&[&renewed])));
    assert_eq!(refused, Err(Code::InvalidCertificate.number()));
    rig.enroll(EnrollmentKind::Individual, "d1", individual(&renewed));
    rig.register(&rig.with_certificates("d1", presented(&[&renewed]))).unwrap();
    assert_eq!(rig.twin("d1")["x509Thumbprint"]["primaryThumbprint"], sha256(&renewed));
}

fn sha256(signed: &Signed) -> String {
    trust::sha256_thumbprint(&signed.certificate)
}

#[test]
fn a_certificate_must_be_current_and_named_like_the_registration() {
    let rig = Rig::new(DeviceAuthorities::default());
    let expired = device("d1", (2020, 2021), None);
    let other_name = device("d2", YEARS, None);
    for certificate in [&expired, &other_name] {
        rig.enroll(EnrollmentKind::Individual, "d1", individual(certificate));
        let refused = rig.register(&rig.with_certificates("d1", presented(&[certificate])));
        assert_eq!(refused, Err(Code::InvalidCertificate.number()));
    }
    let unknown = rig.with_certificates("d2", presented(&[&other_name]));
    assert_eq!(rig.register(&unknown), Err(Code::EnrollmentNotFound.number()));
}

#[test]
fn a_group_admits_certificates_of_its_authority_if_the_chain_is_verified() {
    let root = authority("root", None);
    let intermediate = authority("factory", Some(&root));
    let leaf = device("d1", YEARS, Some(&intermediate));
    let chain = || presented(&[&leaf, &intermediate]);
    for (trusted, verified) in [(vec![&root], true), (vec![&intermediate], true), (vec![], false)] {
        let rig = Rig::new(trusting(&trusted));
        rig.enroll(GROUP, "fleet", group_of(&intermediate));
        let registered = rig.register(&rig.with_certificates("d1", chain()));
        assert_eq!(registered.is_ok(), verified, "{registered:?}");
    }
    let rig = Rig::new(trusting(&[&root]));
    rig.enroll(GROUP, "fleet", group_of(&root));
    let state = rig.register(&rig.with_certificates("d1", chain())).unwrap();
    assert_eq!(state.x509.unwrap().enrollment_group_id.as_deref(), Some("fleet"));
    // Without the intermediate certificate, the chain is incomplete.
    let incomplete = rig.with_certificates("d1", presented(&[&leaf]));
    assert_eq!(rig.register(&incomplete), Err(Code::InvalidCertificate.number()));
    let stranger = device("d1", YEARS, Some(&authority("root", None)));
    let refused = rig.register(&rig.with_certificates("d1", presented(&[&stranger])));
    assert_eq!(refused, Err(Code::InvalidCertificate.number()));
}

#[test]
fn the_closest_group_decides_even_if_it_is_disabled() {
    let root = authority("root", None);
    let intermediate = authority("factory", Some(&root));
    let leaf = device("d1", YEARS, Some(&intermediate));
    let rig = Rig::new(trusting(&[&root]));
    rig.enroll(GROUP, "all", group_of(&root));
    let mut narrow = group_of(&intermediate);
    narrow["provisioningStatus"] = json!("disabled");
    rig.enroll(GROUP, "of-the-factory", narrow);
    let registrant = rig.with_certificates("d1", presented(&[&leaf, &intermediate]));
    assert_eq!(rig.register(&registrant).unwrap().status, AssignmentStatus::Disabled);
    // An individual enrollment precedes all groups.
    rig.enroll(EnrollmentKind::Individual, "d1", individual(&leaf));
    assert_eq!(rig.register(&registrant).unwrap().status, AssignmentStatus::Assigned);
}

#[test]
fn a_group_can_name_an_authority_of_the_hub() {
    let root = authority("root", None);
    let leaf = device("d1", YEARS, Some(&root));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.certificate.clone()).unwrap();
    let named = std::collections::BTreeMap::from([("fleet-root".to_owned(), roots)]);
    let rig = Rig::new(DeviceAuthorities::named(named).unwrap());
    let references = json!({ "caReferences": { "primary": "fleet-root" } });
    let group = json!({ "attestation": { "type": "x509", "x509": references } });
    rig.enroll(GROUP, "fleet", group);
    let registrant = rig.with_certificates("d1", presented(&[&leaf]));
    assert_eq!(rig.register(&registrant).unwrap().status, AssignmentStatus::Assigned);
}
