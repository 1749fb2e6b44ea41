//! Tests of certificates that are issued with a registration.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::provisioning::AssignmentStatus;

use super::*;
use crate::certificates::tests::presenting;

const INDIVIDUAL: EnrollmentKind = EnrollmentKind::Individual;

fn request(name: &str) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().unwrap();
    STANDARD.encode(params.serialize_request(&key).unwrap().der())
}

fn body(csr: &str) -> String {
    json!({ "registrationId": "d1", "csr": csr }).to_string()
}

#[test]
fn a_device_gets_a_certificate_with_which_it_signs_in_at_the_hub() {
    let rig = Rig::new(DeviceAuthorities::default());
    let entry = json!({
        "attestation": { "type": "symmetricKey" },
        "credentialPolicyName": "minutes",
    });
    let entry = rig.enroll(INDIVIDUAL, "d1", entry);
    let registrant = rig.registrant("d1", &entry::keys(&entry).unwrap().0);
    let operation = rig.begin(&registrant, &body(&request("d1"))).unwrap();
    let answer = rig.answer(&registrant, &DeviceRequest::Poll(operation));
    let answer: RegistrationOperation = serde_json::from_slice(&answer.body).unwrap();
    let state = answer.registration_state.unwrap();
    assert_eq!(state.status, AssignmentStatus::Assigned);
    let chain = state.issued_certificate_chain.unwrap();
    let chain: Vec<_> = chain.iter().map(|it| STANDARD.decode(it).unwrap().into()).collect();
    let authority = DeviceAuthorities::of_certificate(&chain[1]).unwrap();
    assert_eq!(presenting(&chain).check_chain(&authority, "d1", now_unix()), Ok(()));
    assert!(presenting(&chain).check_chain(&authority, "d1", now_unix() + 90).is_err());
    assert_eq!(rig.twin("d1")["authenticationType"], "certificateAuthority");
    // The record has no chain, and the next registration without a request restores the key.
    let recorded = rig.service.registration("d1").unwrap();
    assert_eq!(recorded.issued_certificate_chain, None);
    rig.register(&registrant).unwrap();
    assert_eq!(rig.twin("d1")["authenticationType"], "sas");
}

#[test]
fn a_request_that_does_not_fit_is_refused_with_its_reason() {
    let rig = Rig::new(DeviceAuthorities::default());
    let registrant = rig.registrant("d1", &rig.with_key("d1"));
    let refused = |csr: &str| rig.begin(&registrant, &body(csr)).unwrap_err().message;
    assert_eq!(refused(&request("d1")), "csr: the enrollment has no credentialPolicyName");
    let with_policy = |more: Value| {
        let mut entry = json!({
            "attestation": { "type": "symmetricKey" },
            "credentialPolicyName": "minutes",
        });
        entry.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        rig.enroll(INDIVIDUAL, "d1", entry);
    };
    with_policy(json!({}));
    assert_eq!(refused("no base64"), "csr is not a PKCS #10 request in base64");
    assert_eq!(refused(&request("d2")), "csr has another common name than `d1`");
    with_policy(json!({ "deviceId": "pump" }));
    let message = "csr: the deviceId of the enrollment is not the registration id";
    assert_eq!(refused(&request("d1")), message);
}
