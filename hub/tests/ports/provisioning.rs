//! The Device Provisioning Service through the hub's ports.

use std::time::Duration;

use behaviour_hub::{Effect, Fault, Hub, HubConfig, Step};
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::provisioning::enrollment::{Attestation, Enrollment};
use protocol::provisioning::service::OWNER_POLICY;
use protocol::provisioning::{
    ANSWERS, API_VERSION, ProvisioningUserName, RegistrationId, RegistrationOperation, resource,
};
use protocol::sas::{self, Key};
use rumqttc::{AsyncClient, ConnectReturnCode, EventLoop, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::client::{
    Device, TIMEOUT, closed, next, now, published, subscribe, tls_connect, tls_relay,
};

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=1";

async fn hub() -> Hub {
    let provisioning_retry_after = Duration::ZERO;
    Hub::start(HubConfig { provisioning_retry_after, ..HubConfig::default() }).await.unwrap()
}

fn id() -> RegistrationId {
    "sn-7".parse().unwrap()
}

/// Enrolls the device and returns its key.
fn enroll(hub: &Hub) -> Key {
    let enrollment = Enrollment {
        registration_id: Some(id().to_string()),
        attestation: Attestation::symmetric_key(None, None),
        ..Enrollment::default()
    };
    let enrolled = hub.provisioning().create_enrollment(enrollment).unwrap();
    enrolled.attestation.symmetric_key.unwrap().primary_key.unwrap().parse().unwrap()
}

fn token(hub: &Hub, key: &Key) -> String {
    let resource = resource(&hub.provisioning().id_scope(), &id());
    sas::sign(&resource, Some("registration"), key, now() + 60).to_string()
}

/// A device that connects to the Device Provisioning Service by MQTT.
fn registrant(hub: &Hub, key: &Key) -> Device {
    let mut options = MqttOptions::new(id().as_str(), "localhost", tls_relay(hub));
    // The Python client asks for a persistent session, which the service ignores.
    options.set_clean_session(false).set_keep_alive(Duration::from_secs(60));
    let user = ProvisioningUserName {
        scope: hub.provisioning().id_scope(),
        registration: id(),
        api_version: API_VERSION.to_owned(),
        client_version: None,
    };
    options.set_credentials(user.to_string(), token(hub, key));
    Device { options }
}

async fn subscribed(hub: &Hub, key: &Key) -> (AsyncClient, EventLoop) {
    let (client, mut events, present) = registrant(hub, key).connect().await.unwrap();
    assert!(!present);
    client.subscribe(ANSWERS, QoS::AtLeastOnce).await.unwrap();
    next(&mut events, |packet| matches!(packet, Packet::SubAck(_)).then_some(())).await;
    (client, events)
}

/// Publishes a request and returns the topic and the body of the answer.
async fn ask(client: &AsyncClient, events: &mut EventLoop, topic: &str) -> (String, Value) {
    client.publish(topic, QoS::AtLeastOnce, false, " ").await.unwrap();
    let (topic, body) = next(events, published).await;
    (topic, serde_json::from_str(&body).unwrap())
}

fn poll(operation: &Value) -> String {
    let operation = operation["operationId"].as_str().unwrap();
    format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=2&operationId={operation}")
}

#[tokio::test]
async fn a_device_registers_by_mqtt_and_connects_to_the_assigned_hub() {
    let hub = hub().await;
    let key = enroll(&hub);
    let (client, mut events) = subscribed(&hub, &key).await;
    let (topic, operation) = ask(&client, &mut events, REGISTER).await;
    assert_eq!(topic, "$dps/registrations/res/202/?$rid=1&retry-after=0");
    assert_eq!(operation["status"], "assigning");
    let (topic, assigned) = ask(&client, &mut events, &poll(&operation)).await;
    assert_eq!(topic, "$dps/registrations/res/200/?$rid=2");
    let assigned: RegistrationOperation = serde_json::from_value(assigned).unwrap();
    let state = assigned.registration_state.unwrap();
    let identity = DeviceConnectionString {
        host: state.assigned_hub.unwrap().parse().unwrap(),
        device: state.device_id.unwrap(),
        module: None,
        gateway: None,
        credential: DeviceCredential::Key(key),
    };
    assert_eq!(identity.host.port(), Some(hub.mqtt_port()));
    assert!(Device::of(&hub, &identity).connect().await.is_ok());
}

#[tokio::test]
async fn the_acknowledgement_of_a_request_precedes_its_answer() {
    let hub = hub().await;
    let (client, mut events) = subscribed(&hub, &enroll(&hub)).await;
    client.publish(REGISTER, QoS::AtLeastOnce, false, "{}").await.unwrap();
    let first = next(&mut events, |packet| match packet {
        Packet::PubAck(_) => Some("acknowledgement"),
        Packet::Publish(answer) => Some(match answer.qos {
            QoS::AtLeastOnce => "answer",
            _ => "answer at another QoS",
        }),
        _ => None,
    });
    assert_eq!(first.await, "acknowledgement");
    let second = next(&mut events, |packet| match packet {
        Packet::Publish(answer) => Some(answer.qos),
        _ => None,
    });
    assert_eq!(second.await, QoS::AtLeastOnce);
}

#[tokio::test]
async fn a_wrong_token_is_answered_and_a_missing_certificate_refused() {
    let hub = hub().await;
    enroll(&hub);
    let wrong = Key::from_bytes(&[1; 32]).unwrap();
    let (client, mut events) = subscribed(&hub, &wrong).await;
    let (topic, error) = ask(&client, &mut events, REGISTER).await;
    assert_eq!(topic, "$dps/registrations/res/401/?$rid=1");
    assert_eq!(error["errorCode"], 401_000);

    let mut without = registrant(&hub, &wrong);
    let user = without.options.credentials().unwrap().username;
    without.options.set_credentials(user, "");
    let refused = without.connect().await.err();
    assert_eq!(refused, Some(ConnectReturnCode::NotAuthorized));
}

#[tokio::test]
async fn a_topic_of_the_hub_ends_the_session() {
    let hub = hub().await;
    let (client, mut events) = subscribed(&hub, &enroll(&hub)).await;
    client.publish("$iothub/twin/GET/?$rid=1", QoS::AtLeastOnce, false, " ").await.unwrap();
    closed(&mut events).await;
    let (client, mut events, _) = registrant(&hub, &unchecked_key()).connect().await.unwrap();
    client.subscribe("$iothub/twin/res/#", QoS::AtLeastOnce).await.unwrap();
    closed(&mut events).await;
}

/// Returns a key that CONNECT does not check.
fn unchecked_key() -> Key {
    Key::from_bytes(&[1; 32]).unwrap()
}

#[tokio::test]
async fn a_fault_ends_the_connection_at_each_step() {
    let hub = hub().await;
    let key = enroll(&hub);
    let device = id().device_id();
    let set = |step: Step| {
        hub.faults().set(Fault::new(step, Effect::DropBefore).of(&device)).unwrap();
    };
    set(Step::DpsSubscribe);
    let (client, mut events, _) = registrant(&hub, &key).connect().await.unwrap();
    client.subscribe(ANSWERS, QoS::AtLeastOnce).await.unwrap();
    closed(&mut events).await;

    set(Step::DpsRegister);
    let (client, mut events) = subscribed(&hub, &key).await;
    client.publish(REGISTER, QoS::AtLeastOnce, false, "").await.unwrap();
    closed(&mut events).await;
    assert!(hub.provisioning().registration("sn-7").is_some(), "the answer was lost");

    let (client, mut events) = subscribed(&hub, &key).await;
    let (_, operation) = ask(&client, &mut events, REGISTER).await;
    set(Step::DpsStatus);
    client.publish(poll(&operation), QoS::AtLeastOnce, false, " ").await.unwrap();
    closed(&mut events).await;
    // The outcome is still there after the connection was lost.
    let (client, mut events) = subscribed(&hub, &key).await;
    let (_, assigned) = ask(&client, &mut events, &poll(&operation)).await;
    assert_eq!(assigned["status"], "assigned");

    let unavailable = Effect::Refuse(behaviour_hub::Refused::Unavailable);
    hub.faults().set(Fault::new(Step::DpsConnect, unavailable)).unwrap();
    let refused = registrant(&hub, &key).connect().await.err();
    assert_eq!(refused, Some(ConnectReturnCode::ServiceUnavailable));
    assert_eq!(hub.faults().happened(), 4);
}

/// Sends a request over HTTPS. Returns the head of the response and its body.
async fn https(hub: &Hub, request: &str, token: &str, body: &str) -> Option<(String, Value)> {
    let mut stream = tls_connect(hub.ca_pem(), hub.https_port()).await.unwrap();
    let length = body.len();
    let request = format!(
        "{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: {token}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(TIMEOUT, stream.read_to_string(&mut text)).await.unwrap().ok();
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.to_lowercase(), serde_json::from_str(body).unwrap_or_default()))
}

#[tokio::test]
async fn a_device_registers_by_https() {
    let hub = hub().await;
    let key = enroll(&hub);
    let (path, token) = ("/0ne00000000/registrations/sn-7", token(&hub, &key));
    let register = format!("PUT {path}/register?api-version=2019-03-31");
    let (head, operation) = https(&hub, &register, &token, "{}").await.unwrap();
    assert!(head.starts_with("http/1.1 202 accepted"), "{head}");
    assert!(head.contains("retry-after: 0") && head.contains("location: /0ne"), "{head}");
    let operation = operation["operationId"].as_str().unwrap();
    let poll = format!("GET {path}/operations/{operation}?api-version=2019-03-31");
    let (head, assigned) = https(&hub, &poll, &token, "").await.unwrap();
    assert!(head.starts_with("http/1.1 200 ok"), "{head}");
    assert_eq!(assigned["registrationState"]["deviceId"], "sn-7");
    let recorded = format!("POST {path}?api-version=2019-03-31");
    let (_, state) = https(&hub, &recorded, &token, "{}").await.unwrap();
    assert_eq!(state["substatus"], "initialAssignment");

    let (head, error) = https(&hub, &recorded, "nonsense", "{}").await.unwrap();
    assert!(head.starts_with("http/1.1 401 unauthorized"), "{head}");
    assert_eq!(error["errorCode"], 401_000);
    assert!(head.contains(&format!("x-ms-request-id: {}", error["trackingId"].as_str().unwrap())));

    hub.faults().set(Fault::new(Step::DpsStatus, Effect::DropBefore)).unwrap();
    assert_eq!(https(&hub, &poll, &token, "").await, None);
    hub.faults().set(Fault::new(Step::DpsStatus, Effect::Throttle)).unwrap();
    let (head, _) = https(&hub, &poll, &token, "").await.unwrap();
    assert!(head.starts_with("http/1.1 429") && head.contains("retry-after: 0"), "{head}");
}

#[tokio::test]
async fn only_the_owner_of_the_service_manages_enrollments() {
    let hub = hub().await;
    let owner = hub.provisioning().connection_string();
    assert_eq!(owner.policy, OWNER_POLICY);
    let good = sas::sign("localhost", Some(&owner.policy), &owner.key, now() + 60).to_string();
    let put = "PUT /enrollmentGroups/fleet?api-version=2021-10-01";
    let body = json!({ "attestation": { "type": "symmetricKey" } }).to_string();
    let iothub = hub.service_connection_string();
    let of_hub = sas::sign("localhost", Some(&iothub.policy), &iothub.key, now() + 60).to_string();
    let (head, error) = https(&hub, put, &of_hub, &body).await.unwrap();
    assert!(head.starts_with("http/1.1 401"), "{head}");
    assert_eq!(error["message"], "Unauthorized");

    let (head, created) = https(&hub, put, &good, &body).await.unwrap();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert!(created["attestation"]["symmetricKey"]["primaryKey"].is_string());
    let (head, error) = https(&hub, put, &good, &body).await.unwrap();
    assert!(head.starts_with("http/1.1 409 conflict"), "{head}");
    assert_eq!(error["errorCode"], 409_000);
    let query = "POST /enrollmentGroups/query?api-version=2021-10-01";
    let everything = json!({ "query": "SELECT * FROM enrollmentGroups" }).to_string();
    let (head, groups) = https(&hub, query, &good, &everything).await.unwrap();
    assert!(head.contains("x-ms-item-type: enrollmentgroup"), "{head}");
    assert_eq!(groups[0]["enrollmentGroupId"], "fleet");
    // The policy of the service has no access to the hub.
    let (head, _) = https(&hub, "GET /devices?api-version=2021-04-12", &good, "").await.unwrap();
    assert!(head.starts_with("http/1.1 401"), "{head}");
}

#[tokio::test]
async fn persisted_enrollments_and_registrations_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let data = Some(folder.path().to_owned());
        let provisioning_retry_after = Duration::ZERO;
        Hub::start(HubConfig { data, provisioning_retry_after, ..HubConfig::default() })
    };
    let hub = start().await.unwrap();
    let key = enroll(&hub);
    let (client, mut events) = subscribed(&hub, &key).await;
    ask(&client, &mut events, REGISTER).await;
    let before = hub.provisioning().registration("sn-7").unwrap();
    let owner = hub.provisioning().connection_string().key;
    hub.stop().await;

    let hub = start().await.unwrap();
    assert_eq!(hub.provisioning().registration("sn-7"), Some(before));
    assert_eq!(hub.provisioning().connection_string().key, owner);
    let (client, mut events) = subscribed(&hub, &key).await;
    let (topic, _) = ask(&client, &mut events, REGISTER).await;
    assert_eq!(topic, "$dps/registrations/res/202/?$rid=1&retry-after=0");
    subscribe(&client, &mut events, ANSWERS).await;
}
