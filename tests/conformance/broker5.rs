//! Tests of a host with the profile `mqttV5` and a broker that is scripted packet by packet, with
//! the codec of MQTT.js.

use std::fs;
use std::path::Path;

use protocol::mqtt5::{
    Birth, BirthAck, CorrelationId, Exec, Message, PatchOutcome, Probe, ProbeAck, ReasonCode,
    ReportedPatch, ReportedPatchResponse, ResultMessage, TwinGetResponse,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rig::{CertificateFiles, DEVICE, SignedBy};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::node_sdk::{NodeSdk, node_sdk};
use super::script::Script;

const REQUEST: [u8; 16] = [2; 16];

/// A broker, and a host that connects to it. Dropping it stops both.
struct ScriptedBroker {
    broker: Script,
    _stop: oneshot::Sender<()>,
    _folder: TempDir,
}

/// Writes the certificate of the broker, its key and its authority.
fn write_certificates(folder: &Path) {
    let (authority_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(folder.join("ca.pem"), authority.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = Issuer::from_params(&authority, &authority_key);
    let broker = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let broker = broker.signed_by(&key, &issuer).unwrap();
    fs::write(folder.join("broker.pem"), broker.pem()).unwrap();
    fs::write(folder.join("broker-key.pem"), key.serialize_pem()).unwrap();
}

impl ScriptedBroker {
    async fn start(sdk: NodeSdk) -> ScriptedBroker {
        let folder = tempfile::tempdir().unwrap();
        write_certificates(folder.path());
        CertificateFiles::in_directory(folder.path()).write(DEVICE, SignedBy::Itself, 2100);
        let _plugin = fixtures::write("tells.wat", folder.path());
        let mut broker = sdk.broker5(folder.path()).await;
        let port = broker.wait_for("listening").await["port"].as_u64().unwrap();
        let toml = format!(
            "[hub]\nport = {port}\nca_file = \"ca.pem\"\nprofile = \"mqttV5\"\n\
             identity = {{ certificate_file = \"device.pem\", key_file = \"device-key.pem\" }}\n\
             [host]\ndata = \"data\"\ncontrol_socket = \"c/s\"\n\
             [plugins.tells]\nfile = \"tells.wasm\"\nmethods = [\"tell\"]\n"
        );
        let config = host::Config::parse(&toml, folder.path()).unwrap();
        let identity = format!("HostName=localhost;DeviceId={DEVICE};x509=true");
        let identity = host::Identity::ConnectionString(identity.parse().unwrap());
        let (stop, stopped) = oneshot::channel();
        tokio::spawn(host::run(config, identity, async { drop(stopped.await) }));
        ScriptedBroker { broker, _stop: stop, _folder: folder }
    }

    async fn send(&mut self, packet: Value) {
        self.broker.send("send", json!({ "packet": packet })).await;
    }

    /// Waits for the next packet of this kind.
    async fn packet(&mut self, kind: &str) -> Value {
        self.broker.wait_for_matching("packet", |found| found["cmd"] == kind).await
    }

    /// Waits for the next message of this type, and acknowledges it at QoS 1.
    async fn message(&mut self, kind: &str) -> Value {
        let is_it = |found: &Value| found["properties"]["userProperties"]["type"] == kind;
        let packet = self.broker.wait_for_matching("packet", is_it).await;
        if packet["qos"] == 1 {
            let id = &packet["messageId"];
            self.send(json!({ "cmd": "puback", "messageId": id, "reasonCode": 0 })).await;
        }
        packet
    }

    async fn publish(&mut self, kind: &str, correlation: CorrelationId, message: &impl Message) {
        self.send(publish(kind, correlation, message)).await;
    }

    /// Accepts a connection up to the twin. Returns its nonce.
    async fn admit(&mut self) -> CorrelationId {
        let nonce = self.accept().await;
        let subscribe = self.packet("subscribe").await;
        let id = &subscribe["messageId"];
        self.send(json!({ "cmd": "suback", "messageId": id, "granted": [1] })).await;
        let birth = self.message("birth:1").await;
        assert_eq!(correlation(&birth), nonce);
        let ack = BirthAck { desired_version: 1, reported_version: 1 };
        self.publish("birth-ack:1", nonce, &ack).await;
        self.answer_get().await;
        nonce
    }

    /// Accepts a connection up to the CONNACK. Returns its nonce.
    async fn accept(&mut self) -> CorrelationId {
        let name = self.broker.wait_for("connection").await["name"].clone();
        assert_eq!(name, DEVICE);
        let nonce = nonce(&self.packet("connect").await);
        self.send(json!({ "cmd": "connack", "reasonCode": 0, "sessionPresent": false })).await;
        nonce
    }

    /// Answers the request for the twin.
    async fn answer_get(&mut self) {
        let get = self.message("get:1").await;
        let twin = TwinGetResponse {
            desired_version: 1,
            reported_version: 1,
            desired_payload: Some(b"{}".to_vec()),
            reported_payload: Some(b"{}".to_vec()),
        };
        self.publish("get-response:1", correlation(&get), &twin).await;
    }

    /// Probes a method and returns the answer.
    async fn probe(&mut self, method: &str) -> ProbeAck {
        let probe = Probe { method_name: method.to_owned(), response_timeout_seconds: 30 };
        self.publish("probe:1", REQUEST.into(), &probe).await;
        let ack = self.message("probe-ack:1").await;
        assert_eq!((correlation(&ack), &ack["qos"]), (REQUEST.into(), &json!(1)));
        decode(&ack)
    }
}

/// Returns a message for the device.
fn publish(kind: &str, correlation: CorrelationId, message: &impl Message) -> Value {
    let (feature, qos) = match kind {
        "birth-ack:1" => ("presence", 0),
        "probe:1" | "exec:1" => ("methods", 1),
        _ => ("twin", 0),
    };
    json!({
        "cmd": "publish",
        "topic": format!("ih/{DEVICE}/dev/{feature}"),
        "qos": qos,
        "messageId": 77,
        "payload": hex(&message.encode()),
        "properties": {
            "correlationData": correlation.to_string(),
            "messageExpiryInterval": 30,
            "userProperties": { "type": kind },
        },
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn decode<M: Message>(packet: &Value) -> M {
    M::decode(&bytes(&packet["payload"])).unwrap()
}

fn correlation(packet: &Value) -> CorrelationId {
    packet["properties"]["correlationData"].as_str().unwrap().parse().unwrap()
}

/// Returns the nonce in the user name of a CONNECT.
fn nonce(connect: &Value) -> CorrelationId {
    let user = connect["username"].as_str().unwrap();
    let (nonce, version) = user
        .strip_prefix("correlationId=")
        .and_then(|rest| rest.split_once("&clientVersion=behaviour-host%2F"))
        .unwrap_or_else(|| panic!("{user}"));
    assert!(!version.is_empty());
    nonce.parse().unwrap()
}

#[tokio::test]
async fn a_host_follows_the_steps_of_the_profile_with_an_independent_broker() {
    let Some(sdk) = node_sdk() else { return };
    let mut site = ScriptedBroker::start(sdk).await;
    site.broker.wait_for("connection").await;
    let connect = site.packet("connect").await;
    for (key, expected) in [
        ("protocolVersion", json!(5)),
        ("clientId", json!(DEVICE)),
        ("clean", json!(false)),
        ("password", Value::Null),
        ("will", Value::Null),
    ] {
        assert_eq!(connect[key], expected, "{key}");
    }
    assert_eq!(connect["properties"]["sessionExpiryInterval"], 3600);
    let nonce = nonce(&connect);
    site.send(json!({ "cmd": "connack", "reasonCode": 0, "sessionPresent": false })).await;

    let subscribe = site.packet("subscribe").await;
    let [subscription] = &subscribe["subscriptions"].as_array().unwrap()[..] else { panic!() };
    let filter = json!(format!("ih/{DEVICE}/dev/#"));
    assert_eq!((&subscription["topic"], &subscription["qos"]), (&filter, &json!(1)));
    let id = &subscribe["messageId"];
    site.send(json!({ "cmd": "suback", "messageId": id, "granted": [1] })).await;
    let birth = site.message("birth:1").await;
    assert_eq!(birth["topic"], format!("ih/{DEVICE}/srv/presence"));
    assert_eq!((correlation(&birth), &birth["qos"]), (nonce, &json!(0)));
    assert_eq!(decode::<Birth>(&birth), Birth::default());
    // An answer with the nonce of another connection does not admit the device.
    let ack = BirthAck { desired_version: 1, reported_version: 1 };
    site.publish("birth-ack:1", [9; 16].into(), &ack).await;
    site.publish("birth-ack:1", nonce, &ack).await;
    site.answer_get().await;

    let ProbeAck::Ready(ready_id) = site.probe("tell").await else { panic!("rejected") };
    let exec = Exec { ready_id, params: br#"{"a":1}"#.to_vec(), exec_start: None };
    site.publish("exec:1", REQUEST.into(), &exec).await;
    // The plugin sends a message, reports a property, and answers.
    let telemetry = site.message("telemetry:1").await;
    assert_eq!(telemetry["topic"], format!("ih/{DEVICE}/srv/telemetry"));
    assert_eq!(
        (&telemetry["qos"], bytes(&telemetry["payload"])),
        (&json!(1), b"{\"a\":1}".to_vec())
    );
    let result = site.message("result:1").await;
    assert_eq!(correlation(&result), REQUEST.into());
    assert_eq!(result["properties"]["contentType"], "application/protobuf");
    let expected = ResultMessage { status: 200, body: br#"{"a":1}"#.to_vec() };
    assert_eq!(decode::<ResultMessage>(&result), expected);

    // A mismatch, after which the patch is repeated for the version in the answer.
    let (mut version, mut mismatches, mut seen) = (7, 1, false);
    while !seen {
        let patch = site.message("reported-patch:1").await;
        let decoded: ReportedPatch = decode(&patch);
        let outcome = match decoded.if_match == version && mismatches == 0 {
            true => PatchOutcome::Ok,
            false => PatchOutcome::VersionMismatch,
        };
        mismatches = 0;
        if outcome == PatchOutcome::Ok {
            version += 1;
            let body: Value = serde_json::from_slice(&decoded.payload).unwrap();
            seen = body["a"] == 1;
        }
        let response = ReportedPatchResponse { outcome, version };
        site.publish("reported-patch-response:1", correlation(&patch), &response).await;
    }
}

#[tokio::test]
async fn a_message_outside_the_profile_runs_nothing_and_the_connection_goes_on() {
    let Some(sdk) = node_sdk() else { return };
    let mut site = ScriptedBroker::start(sdk).await;
    site.admit().await;
    let probe = Probe { method_name: "tell".to_owned(), response_timeout_seconds: 30 };
    let message = |changes: Value| {
        let mut message = publish("probe:1", [8; 16].into(), &probe);
        message.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        message
    };
    for changes in [
        json!({ "retain": true }),
        json!({ "qos": 2 }),
        json!({ "topic": format!("ih/{DEVICE}/srv/methods") }),
        json!({ "topic": "ih/another/dev/methods" }),
        json!({ "topic": format!("ih/{DEVICE}/dev/twin") }),
        json!({ "topic": "$iothub/methods/POST/tell/?$rid=1" }),
        json!({ "topic": format!("devices/{DEVICE}/messages/devicebound/") }),
        json!({ "properties": {} }),
        json!({ "properties": { "userProperties": { "type": "probe:2" } } }),
    ] {
        site.send(message(changes)).await;
    }
    // A PUBLISH at QoS 0 to `#`, without properties.
    site.broker.send("bytes", json!({ "bytes": "30050001230061" })).await;
    assert!(matches!(site.probe("tell").await, ProbeAck::Ready(_)));
    let rejected = ProbeAck::Rejected(protocol::mqtt5::Rejection::MethodNotFound);
    assert_eq!(decode_next(&mut site, "unknown").await, rejected);
}

/// Probes a method under another request id.
async fn decode_next(site: &mut ScriptedBroker, method: &str) -> ProbeAck {
    let probe = Probe { method_name: method.to_owned(), response_timeout_seconds: 30 };
    site.publish("probe:1", [3; 16].into(), &probe).await;
    decode(&site.message("probe-ack:1").await)
}

#[tokio::test]
async fn a_host_connects_again_with_another_nonce_after_each_end_and_refusal() {
    let Some(sdk) = node_sdk() else { return };
    let mut site = ScriptedBroker::start(sdk).await;
    let mut nonces = vec![site.admit().await];
    for reason in [ReasonCode::SERVER_SHUTTING_DOWN, ReasonCode::SESSION_TAKEN_OVER] {
        site.send(json!({ "cmd": "disconnect", "reasonCode": reason.0 })).await;
        nonces.push(site.admit().await);
    }
    site.broker.send("end", json!({})).await;
    nonces.push(site.accept().await);
    // A subscription that is refused, and one that is granted at another QoS.
    for code in [ReasonCode::NOT_AUTHORIZED.0, 0] {
        let subscribe = site.packet("subscribe").await;
        let id = &subscribe["messageId"];
        site.send(json!({ "cmd": "suback", "messageId": id, "granted": [code] })).await;
        nonces.push(site.accept().await);
    }
    let count = nonces.len();
    nonces.sort_by_key(|nonce| *nonce.as_bytes());
    nonces.dedup();
    assert_eq!(nonces.len(), count);
}
