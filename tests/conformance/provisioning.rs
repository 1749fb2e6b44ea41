//! Tests of the official Python SDK for devices that register with the Device Provisioning
//! Service of the hub, and connect to the hub.

use hub::{Effect, Fault, Step};
use protocol::id::DeviceId;
use protocol::provisioning::enrollment::{
    Attestation, CaReferences, CertificatePair, Enrollment, X509Attestation,
};
use rig::{DEVICE, Rig, Running, SignedBy};
use serde_json::{Value, json};

use super::script::Script;
use super::sdk::sdk;

/// Creates an individual enrollment, and returns its primary key if it has one.
fn enroll(rig: &Running, id: &str, attestation: Attestation) -> Option<String> {
    let twin = json!({ "properties": { "desired": { "speed": 1 } } });
    let enrollment = Enrollment {
        registration_id: Some(id.to_owned()),
        attestation,
        initial_twin: twin.as_object().cloned(),
        ..Enrollment::default()
    };
    let created = rig.hub().provisioning().create_enrollment(enrollment).unwrap();
    created.attestation.symmetric_key.and_then(|keys| keys.primary_key)
}

fn create_group(rig: &Running, attestation: Attestation) -> Option<String> {
    let enrollment_group_id = Some("fleet".to_owned());
    let group = Enrollment { enrollment_group_id, attestation, ..Enrollment::default() };
    let created = rig.hub().provisioning().create_group(group).unwrap();
    created.attestation.symmetric_key.and_then(|keys| keys.primary_key)
}

fn with_keys() -> Attestation {
    Attestation::symmetric_key(None, None)
}

/// Returns the arguments with which the rig's device presents its certificate.
fn certificate(rig: &Running) -> Value {
    let files = rig.certificate_files();
    json!({ "id": DEVICE, "certificate": files.certificate, "private_key": files.key })
}

async fn register(script: &mut Script, arguments: Value) -> Value {
    script.send("register", arguments).await;
    assert_eq!(script.wait_for("registered").await["status"], "assigned");
    script.wait_for("connected").await
}

#[tokio::test]
async fn a_device_with_a_key_registers_over_tcp_and_web_sockets_and_connects() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let key = enroll(&rig, "sn-1", with_keys()).unwrap();
    let mut script = sdk.registrant(&rig).await;
    for websockets in [false, true] {
        let arguments = json!({ "id": "sn-1", "key": key, "websockets": websockets });
        let connected = register(&mut script, arguments).await;
        assert_eq!(connected["device"], "sn-1");
        assert_eq!(connected["hub"], "localhost");
        assert_eq!(connected["substatus"], "initialAssignment");
        assert_eq!(connected["desired"]["speed"], 1);
    }
    script.stop().await;
}

#[tokio::test]
async fn a_device_with_a_derived_key_registers_in_its_group() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let key = create_group(&rig, with_keys()).unwrap();
    let derived = key.parse::<protocol::sas::Key>().unwrap().derive(&"sn-2".parse().unwrap());
    let mut script = sdk.registrant(&rig).await;
    let arguments = json!({ "id": "sn-2", "key": derived.to_base64() });
    assert_eq!(register(&mut script, arguments).await["device"], "sn-2");
    // The key of the group itself is not one of a device.
    script.send("register", json!({ "id": "sn-2", "key": key })).await;
    script.wait_for("refused").await;
    script.stop().await;
}

#[tokio::test]
async fn a_device_with_a_certificate_registers_and_connects() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().certificate(SignedBy::Itself).start().await;
    let pem = std::fs::read_to_string(rig.certificate_files().certificate).unwrap();
    let client_certificates = Some(CertificatePair::new(pem, None));
    let x509 = X509Attestation { client_certificates, ..X509Attestation::default() };
    enroll(&rig, DEVICE, Attestation::x509(x509));
    let mut script = sdk.registrant(&rig).await;
    let connected = register(&mut script, certificate(&rig)).await;
    assert_eq!(connected["device"], DEVICE);
    // The hub knows the rig's device already.
    assert_eq!(connected["substatus"], "reprovisionedToInitialAssignment");
    script.stop().await;
}

#[tokio::test]
async fn a_device_with_a_certificate_of_an_authority_registers_in_its_group() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().certificate(SignedBy::Authority).start().await;
    // The authority is named after its file.
    let references = CaReferences { primary: Some("devices-ca".to_owned()), secondary: None };
    let x509 = X509Attestation { ca_references: Some(references), ..X509Attestation::default() };
    create_group(&rig, Attestation::x509(x509));
    let mut script = sdk.registrant(&rig).await;
    let mut arguments = certificate(&rig);
    arguments["websockets"] = json!(true);
    assert_eq!(register(&mut script, arguments).await["device"], DEVICE);
    script.stop().await;
}

#[tokio::test]
async fn a_refused_device_gets_an_error_and_a_throttled_one_retries() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let key = enroll(&rig, "sn-3", with_keys()).unwrap();
    let mut script = sdk.registrant(&rig).await;
    let other = protocol::sas::Key::from_bytes(&[1; 32]).unwrap().to_base64();
    for arguments in [
        json!({ "id": "sn-3", "key": other }),
        json!({ "id": "sn-3", "key": key, "scope": "0neFFFFFFFF" }),
        json!({ "id": "stranger", "key": key }),
    ] {
        script.send("register", arguments).await;
        let refused = script.wait_for("refused").await;
        assert_eq!(refused["error"], "ClientError", "{refused}");
    }
    let device: DeviceId = "sn-3".parse().unwrap();
    for fault in [
        Fault::new(Step::DpsRegister, Effect::Throttle),
        Fault::new(Step::DpsStatus, Effect::Assigning).times(2),
        Fault::new(Step::DpsStatus, Effect::Throttle),
    ] {
        rig.hub().faults().set(fault.of(&device)).unwrap();
    }
    register(&mut script, json!({ "id": "sn-3", "key": key })).await;
    assert_eq!(rig.hub().faults().happened(), 4);
    script.stop().await;
}
