//! Tests of the official Node SDKs for devices and services of the Device Provisioning Service.

use protocol::sas::Key;
use rig::{DEVICE, Rig, Running, SignedBy};
use serde_json::{Value, json};

use super::node_sdk::node_sdk;
use super::script::Script;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn with_keys() -> Value {
    json!({ "type": "symmetricKey", "symmetricKey": { "primaryKey": KEY, "secondaryKey": KEY } })
}

/// Returns the arguments with which the rig's device presents its certificate.
fn certificate(rig: &Running, transport: &str) -> Value {
    let files = rig.certificate_files();
    json!({
        "id": DEVICE,
        "transport": transport,
        "certificate": std::fs::read_to_string(files.certificate).unwrap(),
        "privateKey": std::fs::read_to_string(files.key).unwrap(),
    })
}

async fn ask(script: &mut Script, command: &str, arguments: Value, event: &str) -> Value {
    script.send(command, arguments).await;
    let found = script.wait_for_any(&[event, "refused"]).await;
    assert_eq!(found["event"], event, "{found}");
    found
}

#[tokio::test]
async fn a_device_registers_over_mqtt_and_https_with_an_enrollment_of_the_service() {
    let Some(sdk) = node_sdk() else { return };
    let rig = Rig::new().start().await;
    let mut script = sdk.provisioning(&rig).await;
    let twin = json!({ "tags": {}, "properties": { "desired": { "speed": 1 } } });
    let enrollment =
        json!({ "registrationId": "sn-1", "attestation": with_keys(), "initialTwin": twin });
    let arguments = json!({ "enrollment": enrollment });
    ask(&mut script, "createEnrollment", arguments, "enrollment").await;
    for transport in ["mqtt", "http"] {
        let arguments = json!({ "id": "sn-1", "transport": transport, "key": KEY });
        let connected = ask(&mut script, "register", arguments, "connected").await;
        assert_eq!(connected["status"], "assigned");
        assert_eq!(connected["substatus"], "initialAssignment");
        assert_eq!(connected["desired"]["speed"], 1);
    }
    let found = ask(&mut script, "getRegistration", json!({ "id": "sn-1" }), "registration").await;
    assert_eq!(found["registration"]["deviceId"], "sn-1");
    script.stop().await;
}

#[tokio::test]
async fn a_device_of_a_group_registers_with_a_derived_key_or_a_certificate() {
    let Some(sdk) = node_sdk() else { return };
    let rig = Rig::new().certificate(SignedBy::Authority).start().await;
    let mut script = sdk.provisioning(&rig).await;
    let group = json!({ "enrollmentGroupId": "fleet", "attestation": with_keys() });
    ask(&mut script, "createGroup", json!({ "group": group }), "group").await;
    let key = KEY.parse::<Key>().unwrap().derive(&"sn-2".parse().unwrap()).to_base64();
    let arguments = json!({ "id": "sn-2", "transport": "mqtt", "key": key });
    ask(&mut script, "register", arguments, "connected").await;

    let references = json!({ "caReferences": { "primary": "devices-ca" } });
    let attestation = json!({ "type": "x509", "x509": references });
    let group = json!({ "enrollmentGroupId": "factory", "attestation": attestation });
    ask(&mut script, "createGroup", json!({ "group": group }), "group").await;
    for transport in ["mqtt", "http"] {
        let connected =
            ask(&mut script, "register", certificate(&rig, transport), "connected").await;
        assert_eq!(connected["deviceId"], DEVICE);
    }
    script.stop().await;
}

#[tokio::test]
async fn a_device_with_a_self_signed_certificate_registers() {
    let Some(sdk) = node_sdk() else { return };
    let rig = Rig::new().certificate(SignedBy::Itself).start().await;
    let mut script = sdk.provisioning(&rig).await;
    let pem = certificate(&rig, "mqtt")["certificate"].clone();
    let certificates = json!({ "clientCertificates": { "primary": { "certificate": pem } } });
    let attestation = json!({ "type": "x509", "x509": certificates });
    let enrollment = json!({ "registrationId": DEVICE, "attestation": attestation });
    let arguments = json!({ "enrollment": enrollment });
    let created = ask(&mut script, "createEnrollment", arguments, "enrollment").await;
    let primary = &created["enrollment"]["attestation"]["x509"]["clientCertificates"]["primary"];
    assert_eq!(primary["info"]["subjectName"], format!("CN={DEVICE}"));
    for transport in ["mqtt", "http"] {
        ask(&mut script, "register", certificate(&rig, transport), "connected").await;
    }
    script.stop().await;
}

#[tokio::test]
async fn a_service_reads_queries_and_deletes_enrollments() {
    let Some(sdk) = node_sdk() else { return };
    let rig = Rig::new().start().await;
    let mut script = sdk.provisioning(&rig).await;
    for id in ["a", "b", "c"] {
        let group = json!({ "enrollmentGroupId": id, "attestation": with_keys() });
        ask(&mut script, "createGroup", json!({ "group": group }), "group").await;
    }
    let found = ask(&mut script, "queryGroups", json!({ "pageSize": 2 }), "pages").await;
    assert_eq!(found["pages"], json!([["a", "b"], ["c"]]));
    let found = ask(&mut script, "getAttestation", json!({ "id": "a" }), "attestation").await;
    assert_eq!(found["attestation"]["symmetricKey"]["primaryKey"], KEY);

    let enrollment = json!({ "registrationId": "sn-1", "attestation": with_keys() });
    let arguments = json!({ "enrollment": enrollment });
    ask(&mut script, "createEnrollment", arguments.clone(), "enrollment").await;
    let found = ask(&mut script, "getEnrollment", json!({ "id": "sn-1" }), "enrollment").await;
    assert_eq!(found["enrollment"]["attestation"]["symmetricKey"], json!({}));
    script.send("createEnrollment", arguments).await;
    assert_eq!(script.wait_for("refused").await["name"], "DeviceAlreadyExistsError");
    script.send("deleteEnrollment", json!({ "id": "sn-1", "etag": "old" })).await;
    assert_eq!(script.wait_for("refused").await["name"], "InvalidEtagError");
    let etag = found["enrollment"]["etag"].clone();
    let arguments = json!({ "id": "sn-1", "etag": etag });
    ask(&mut script, "deleteEnrollment", arguments, "deleted").await;
    let arguments = json!({ "id": "sn-1", "transport": "http", "key": KEY });
    script.send("register", arguments).await;
    script.wait_for("refused").await;
    script.stop().await;
}
