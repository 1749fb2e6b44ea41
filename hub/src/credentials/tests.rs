//! Requests for certificates, with all codes of the reference, in paused time.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::faults::{Effect, Fault};
use crate::sessions::{OpenedSession, Outlet, SessionWire};

/// Credentials with one device, which is not connected at first.
struct Rig {
    credentials: Arc<Credentials>,
    faults: Arc<Faults>,
    sessions: Arc<Sessions>,
}

fn device() -> DeviceId {
    "d1".parse().unwrap()
}

fn rig() -> Rig {
    let faults = Arc::new(Faults::default());
    let sessions = Arc::new(Sessions::new(Arc::clone(&faults), Arc::default()));
    let authority = Arc::new(Authority::open(None).unwrap());
    let minute = Duration::from_secs(60);
    let credentials =
        Credentials::new(authority, minute, Arc::clone(&sessions), Arc::clone(&faults));
    Rig { credentials: Arc::new(credentials), faults, sessions }
}

fn csr() -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "d1");
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    STANDARD.encode(params.serialize_request(&key).unwrap().der())
}

fn body(more: Value) -> Vec<u8> {
    let mut body = json!({ "id": "d1", "csr": csr() });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string().into_bytes()
}

impl Rig {
    fn accept(&self, rid: &str, body: &[u8]) -> Result<AcceptedRequest, Box<CredentialError>> {
        self.credentials.accept(&device(), true, &rid.parse().unwrap(), body, None)
    }

    async fn finish(&self, accepted: AcceptedRequest) {
        self.credentials.finish(device(), accepted).await;
    }

    /// Opens a session that is subscribed to the answers.
    fn subscribe(&self) -> (OpenedSession, mpsc::Receiver<bytes::Bytes>) {
        let (queue, packets) = mpsc::channel(8);
        let outlet = Outlet::new(queue, watch::Sender::new(None));
        let filters = vec![protocol::topic::Filter::CredentialAnswers];
        let session =
            self.sessions.open(&Owner::device(&device()), outlet, SessionWire::Classic(filters), 0);
        self.credentials.subscribed(&device());
        (session, packets)
    }
}

/// Returns the topic and the body in a PUBLISH packet.
fn content(packet: &[u8]) -> (String, Value) {
    let text = String::from_utf8_lossy(packet).into_owned();
    let topic = text[text.find('$').unwrap()..text.find('{').unwrap()].to_owned();
    (topic, serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap())
}

#[tokio::test(start_paused = true)]
async fn each_malformed_request_has_the_code_that_azure_answers() {
    let rig = rig();
    let code = |body: &[u8]| rig.accept("abcd", body).map(drop).unwrap_err().error_code;
    let good = body(json!({}));
    let text = String::from_utf8(good.clone()).unwrap();
    let oversized = body(json!({ "csr": "A".repeat(8 * 1024) }));
    for bad in [
        &b""[..],
        b"[]",
        br#"{"id":"d1"}"#,
        br#"{"csr":"AAAA"}"#,
        br#"{"id":"d1","csr":""}"#,
        br#"{"id":"d1","csr":"not base64"}"#,
        text.replace("d1", "d2").as_bytes(),
        text.replace("d1", "").as_bytes(),
        &body(json!({ "more": 1 })),
        &body(json!({ "replace": "a" })),
        &oversized,
    ] {
        assert_eq!(code(bad), 400_004, "{}", String::from_utf8_lossy(bad));
    }
    assert_eq!(code(br#"{"id":"#), 400_006);
    assert_eq!(rig.accept("abc", &good).map(drop).unwrap_err().error_code, 400_004);
    let rid = "abcd".parse().unwrap();
    let other = rig.credentials.accept(&device(), false, &rid, &good, None);
    assert_eq!(other.map(drop).unwrap_err().error_code, 412_005);
}

#[tokio::test(start_paused = true)]
async fn a_device_has_one_request_at_a_time_and_can_replace_it() {
    let rig = rig();
    let missing = rig.accept("req-1", &body(json!({ "replace": "req-0" }))).map(drop).unwrap_err();
    assert_eq!((missing.error_code, missing.info), (412_001, Some(json!({"requestId": "req-0"}))));
    let first = rig.accept("req-1", &body(json!({ "replace": "*" }))).unwrap();
    let conflict = rig.accept("req-2", &body(json!({}))).map(drop).unwrap_err();
    assert_eq!(conflict.error_code, 409_004);
    assert_eq!(conflict.info.as_ref().unwrap()["requestId"], "req-1");
    let second = rig.accept("req-2", &body(json!({ "replace": "req-1" }))).unwrap();
    let (_session, mut packets) = rig.subscribe();

    rig.finish(first).await;
    rig.finish(second).await;
    let (topic, _) = content(&packets.recv().await.unwrap());
    assert_eq!(topic, "$iothub/credentials/res/200/?$rid=req-2", "the first one is superseded");
    rig.accept("req-3", &body(json!({}))).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_certificate_waits_until_the_device_is_subscribed_again() {
    let rig = rig();
    let accepted = rig.accept("req-1", &body(json!({}))).unwrap();
    rig.finish(accepted).await;

    let (_session, mut packets) = rig.subscribe();
    let (topic, body) = content(&packets.recv().await.unwrap());
    assert_eq!(topic, "$iothub/credentials/res/200/?$rid=req-1");
    let leaf = STANDARD.decode(body["certificates"][0].as_str().unwrap()).unwrap();
    let facts = trust::Certificate::parse(&leaf.into()).unwrap();
    assert_eq!(facts.common_name.as_deref(), Some("d1"));
    assert_eq!(facts.valid_until_unix - facts.valid_from_unix, 60);
    let (_next, mut packets) = rig.subscribe();
    assert!(packets.try_recv().is_err(), "an answer is sent once");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_verified_is_refused_after_its_first_answer() {
    let rig = rig();
    let (_session, mut packets) = rig.subscribe();
    let invalid = body(json!({ "csr": STANDARD.encode(b"no request") }));
    let accepted = rig.accept("req-1", &invalid).unwrap();
    let correlation = accepted.pending.correlation_id.clone();
    rig.finish(accepted).await;
    let (topic, body) = content(&packets.recv().await.unwrap());
    assert_eq!(topic, "$iothub/credentials/res/400/?$rid=req-1");
    assert_eq!(body["errorCode"], 400_037);
    assert_eq!(body["info"]["correlationId"], correlation);
}

#[tokio::test(start_paused = true)]
async fn faults_delay_lose_and_spoil_the_certificate() {
    let rig = rig();
    let (_session, mut packets) = rig.subscribe();
    let set = |effect| {
        rig.faults.set(Fault::new(Step::CertificateAnswer, effect).of(&device())).unwrap();
    };
    let issued = |packet: bytes::Bytes| {
        let (_, body) = content(&packet);
        let leaf = STANDARD.decode(body["certificates"][0].as_str().unwrap()).unwrap();
        (trust::Certificate::parse(&leaf.into()).unwrap(), body)
    };

    set(Effect::Delay(Duration::from_secs(5)));
    let begun = tokio::time::Instant::now();
    rig.finish(rig.accept("req-1", &body(json!({}))).unwrap()).await;
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
    let (_, regular) = issued(packets.recv().await.unwrap());

    set(Effect::Lose);
    rig.finish(rig.accept("req-2", &body(json!({}))).unwrap()).await;
    assert!(packets.try_recv().is_err());

    set(Effect::ExpiredChain);
    rig.finish(rig.accept("req-3", &body(json!({}))).unwrap()).await;
    let (expired, _) = issued(packets.recv().await.unwrap());
    assert!(expired.valid_until_unix < Timestamp::now().as_second());

    set(Effect::UntrustedChain);
    rig.finish(rig.accept("req-4", &body(json!({}))).unwrap()).await;
    let (_, stranger) = issued(packets.recv().await.unwrap());
    assert_ne!(stranger["certificates"][1], regular["certificates"][1]);

    set(Effect::RejectCsr);
    rig.finish(rig.accept("req-5", &body(json!({}))).unwrap()).await;
    assert_eq!(content(&packets.recv().await.unwrap()).1["errorCode"], 400_037);

    set(Effect::BrokenBody);
    rig.finish(rig.accept("req-6", &body(json!({}))).unwrap()).await;
    let broken = packets.recv().await.unwrap();
    assert!(!broken.ends_with(b"}"));

    let rid = "req-7".parse().unwrap();
    let good = body(json!({}));
    let refused = |rejection| {
        let refused = rig.credentials.accept(&device(), true, &rid, &good, Some(rejection));
        *refused.map(drop).unwrap_err()
    };
    let throttled = refused(Rejection::Throttled);
    assert_eq!((throttled.error_code, throttled.retry_after), (429_002, Some(1)));
    assert_eq!(refused(Rejection::Conflict).error_code, 409_004);
    assert_eq!(refused(Rejection::ServerError).error_code, 503_001);
}
