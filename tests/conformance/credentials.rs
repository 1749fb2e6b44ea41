//! Tests of certificates that a plain MQTT client requests over its session.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hub::{Effect, Fault, Step};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use rig::{DEVICE, Rig, Running, SignedBy};
use serde_json::{Value, json};

use super::script::Script;
use super::sdk::sdk;

/// Returns a key and a signing request for the rig's device.
fn key_and_csr() -> (KeyPair, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, DEVICE);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let csr = STANDARD.encode(params.serialize_request(&key).unwrap().der());
    (key, csr)
}

async fn connect(script: &mut Script, rig: &Running, clean: bool) {
    let files = rig.certificate_files();
    let arguments =
        json!({ "certificate": files.certificate, "private_key": files.key, "clean": clean });
    script.send("connect", arguments).await;
    assert_eq!(script.wait_for("connected").await["code"], 0);
}

async fn subscribe(script: &mut Script) {
    script.send("subscribe", json!({})).await;
    script.wait_for("subscribed").await;
}

async fn request(script: &mut Script, rid: &str, body: Value) {
    let body = body.to_string();
    script.send("publish", json!({ "rid": rid, "body": body })).await;
    script.wait_for("acknowledged").await;
}

/// Waits for the answer to a request, and returns its status and its body.
async fn answer(script: &mut Script, rid: &str) -> (u64, Value) {
    let end = format!("/?$rid={rid}");
    let is_answer = |found: &Value| found["topic"].as_str().is_some_and(|it| it.ends_with(&end));
    let message = script.wait_for_matching("message", is_answer).await;
    let topic = message["topic"].as_str().unwrap();
    let status = topic.trim_start_matches("$iothub/credentials/res/").trim_end_matches(&end);
    (status.parse().unwrap(), serde_json::from_str(message["body"].as_str().unwrap()).unwrap())
}

#[tokio::test]
async fn a_plain_client_requests_a_certificate_and_connects_with_it() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().certificate(SignedBy::Authority).start().await;
    let mut script = sdk.plain_client(&rig).await;
    connect(&mut script, &rig, true).await;
    subscribe(&mut script).await;
    let (key, csr) = key_and_csr();
    request(&mut script, "12345678", json!({ "id": DEVICE, "csr": csr })).await;
    let (status, pending) = answer(&mut script, "12345678").await;
    assert_eq!(status, 202);
    let (status, issued) = answer(&mut script, "12345678").await;
    assert_eq!((status, &issued["correlationId"]), (200, &pending["correlationId"]));

    let files = rig.certificate_files();
    let chain = issued["certificates"].as_array().unwrap();
    let pem = |text: &Value| {
        let body = text.as_str().unwrap();
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    };
    std::fs::write(&files.certificate, chain.iter().map(pem).collect::<String>()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
    script.send("disconnect", json!({})).await;
    connect(&mut script, &rig, true).await;
    script.stop().await;
}

#[tokio::test]
async fn a_certificate_reaches_the_next_connection_of_a_plain_client() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().certificate(SignedBy::Authority).start().await;
    let mut script = sdk.plain_client(&rig).await;
    connect(&mut script, &rig, false).await;
    subscribe(&mut script).await;
    let lost = Fault::new(Step::CertificateAnswer, Effect::DropBefore);
    rig.hub().faults().set(lost).unwrap();
    let (_, csr) = key_and_csr();
    request(&mut script, "req-1", json!({ "id": DEVICE, "csr": csr })).await;
    assert_eq!(answer(&mut script, "req-1").await.0, 202);
    script.wait_for("disconnected").await;
    // The session is not clean, so its subscription is still there.
    script.send("disconnect", json!({})).await;
    connect(&mut script, &rig, false).await;
    assert_eq!(answer(&mut script, "req-1").await.0, 200);

    // Without a subscription, the certificate waits for one.
    let delay = Effect::Delay(std::time::Duration::from_millis(300));
    rig.hub().faults().set(Fault::new(Step::CertificateAnswer, delay)).unwrap();
    request(&mut script, "req-2", json!({ "id": DEVICE, "csr": csr })).await;
    assert_eq!(answer(&mut script, "req-2").await.0, 202);
    script.send("unsubscribe", json!({})).await;
    script.wait_for("unsubscribed").await;
    script.send("disconnect", json!({})).await;
    connect(&mut script, &rig, true).await;
    subscribe(&mut script).await;
    assert_eq!(answer(&mut script, "req-2").await.0, 200);
    script.stop().await;
}

#[tokio::test]
async fn a_plain_client_is_told_what_is_wrong_with_its_request() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().certificate(SignedBy::Authority).start().await;
    let mut script = sdk.plain_client(&rig).await;
    connect(&mut script, &rig, true).await;
    subscribe(&mut script).await;
    request(&mut script, "req-1", json!({ "id": DEVICE })).await;
    let (status, error) = answer(&mut script, "req-1").await;
    assert_eq!((status, &error["errorCode"]), (400, &json!(400_004)));
    let (_, csr) = key_and_csr();
    let replaced = json!({ "id": DEVICE, "csr": csr, "replace": "req-0" });
    request(&mut script, "req-2", replaced).await;
    let (status, error) = answer(&mut script, "req-2").await;
    assert_eq!((status, &error["errorCode"]), (412, &json!(412_001)));
    script.stop().await;
}
