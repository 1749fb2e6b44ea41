//! Entry points for fuzzing the parsers of requests.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use bytes::BytesMut;
use protocol::configuration::Configuration;
use protocol::job::Job;
use protocol::provisioning::enrollment::Enrollment;
use protocol::provisioning::resource;
use protocol::provisioning::service::EnrollmentKind;
use protocol::sas::sign;
use protocol::twin::{MAX_SECTION_BYTES, MAX_TAGS_BYTES, size};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::ca::Authority;
use crate::certificates::DeviceAuthorities;
use crate::configurations::WriteCondition;
use crate::credentials::Credentials;
use crate::entra_api;
use crate::faults::{ControlRequest, FaultJson, Faults, Handling};
use crate::peer::Peer;
use crate::policy::Permission;
use crate::provisioning::{DeviceRequest, Provisioning, ProvisioningSettings, Registrant};
use crate::provisioning_api;
use crate::rest::{self, Rest};
use crate::sessions::Sessions;
use crate::stamps::now_unix;
use crate::state::{IdentityRequest, IfMatch, Owner, State, TwinChange, TwinWrite};
use crate::{mqtt, mqtt5, query};

static STATE: LazyLock<Arc<State>> = LazyLock::new(|| {
    State::open(None, vec!["localhost".to_owned()]).expect("a state in memory can be opened")
});

static PROVISIONING: LazyLock<Provisioning> = LazyLock::new(|| {
    let sessions = Arc::new(Sessions::new(Arc::default(), Arc::default()));
    let issuer = Arc::new(Authority::open(None).expect("an authority in memory can be created"));
    let settings = ProvisioningSettings {
        retry_after: Duration::from_secs(1),
        certificate_lifetime: Duration::from_secs(60),
        mqtt_port: 8883,
        https_port: 8443,
    };
    let authorities = DeviceAuthorities::default();
    Provisioning::new(Arc::clone(&STATE), sessions, authorities, issuer, settings)
});

/// Decodes packets of both versions of MQTT until the bytes end or are malformed, and returns
/// the larger number of packets. For fuzzing only.
#[must_use]
pub fn read_packets(bytes: &[u8]) -> usize {
    let mut buffer = BytesMut::from(bytes);
    let mut packets = 0;
    while let Ok(Some(_)) = mqtt::decode(&mut buffer) {
        packets += 1;
    }
    let (mut buffer, mut packets_of_5) = (BytesMut::from(bytes), 0);
    while let Ok(Some(_)) = mqtt5::decode(&mut buffer) {
        packets_of_5 += 1;
    }
    packets.max(packets_of_5)
}

/// Writes an enrollment with the first body, registers its device with the second one, and
/// parses the second one as a path.
///
/// # Panics
///
/// Panics if an answer to the device is not JSON.
pub fn provision(enrollment: &str, request: &str) {
    provisioning_api::parse_path(request);
    let (service, id) = (&*PROVISIONING, "fuzzed");
    if let Ok(entry) = serde_json::from_str::<Enrollment>(enrollment) {
        for (kind, condition) in [
            (EnrollmentKind::Individual, IfMatch::Absent),
            (EnrollmentKind::Individual, IfMatch::Any),
            (EnrollmentKind::Group, IfMatch::Any),
        ] {
            service.write_enrollment(kind, id, entry.clone(), &condition).ok();
        }
    }
    let (scope, registration) = (service.id_scope(), id.parse().expect("a valid id"));
    let keys = service.attestation(EnrollmentKind::Individual, id).unwrap_or_default();
    let key = keys["symmetricKey"]["primaryKey"].as_str().and_then(|key| key.parse().ok());
    let signed = |key| sign(&resource(&scope, &registration), None, &key, u64::MAX).to_string();
    let token = key.map(signed);
    let registrant =
        Registrant { scope, registration, token, peer: Peer::default(), names_profile: true };
    let request = DeviceRequest::Register(request.as_bytes().to_vec());
    let answer = service.answer(&registrant, &request, &Handling::REGULAR);
    let _body: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
}

/// Authorises a request by a header, and requests a token with the same text as the form.
///
/// # Panics
///
/// Panics if the header is accepted, as the hub has issued no token.
pub fn authorize(text: &str) {
    entra_api::request_token(STATE.policies().directory(), text);
    let Ok(value) = text.parse() else { return };
    let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
    let authorized =
        STATE.policies().authorize(&headers, "/devices", Permission::RegistryRead, now_unix());
    assert!(authorized.is_err(), "{text}");
}

/// Runs a query over two twins, parses the continuation token, and returns the number of
/// rows.
#[must_use]
pub fn run_query(text: &str, continuation: &str) -> usize {
    rest::check_continuation(continuation);
    let Ok(query) = query::parse(text) else { return 0 };
    let twins = [
        json!({"deviceId": "a", "tags": {"floor": 1, "name": "x"}, "status": "enabled",
            "properties": {"desired": {"n": [1, 2]}, "reported": {"t": 1.5, "b": true}}}),
        json!({"deviceId": "b", "tags": {"floor": 2}, "version": 3,
            "properties": {"desired": {}, "reported": {"t": null}}}),
    ];
    let twins = twins.map(Arc::new).into_iter().enumerate();
    query.page(twins, 0, 10).rows.len()
}

/// Updates a twin with the body of a request, both by PATCH and by PUT.
///
/// # Panics
///
/// Panics if a twin exceeds its limits after an accepted body.
pub fn write_twin(body: &str) {
    let Ok(Value::Object(body)) = json::value(body) else { return };
    let id = "fuzzed".parse().expect("a valid id");
    let owner = Owner::device(&id);
    if STATE.get(&owner).is_err() {
        // Another thread may have created the device in the meantime.
        STATE.create_device(&id).ok();
    }
    for write in [TwinWrite::Merge, TwinWrite::Replace] {
        let Ok(change) = TwinChange::parse(body.clone()) else { continue };
        let Ok((entity, _)) = STATE.write_twin(&owner, write, change, &IfMatch::Any) else {
            continue;
        };
        let view = entity.twin_view();
        let members = |part: &Value| {
            let mut members = part.as_object().cloned().unwrap_or_default();
            members.retain(|key, _| !key.starts_with('$'));
            members
        };
        assert!(size(&members(&view["tags"])) <= MAX_TAGS_BYTES);
        assert!(size(&members(&view["properties"]["desired"])) <= MAX_SECTION_BYTES);
    }
}

/// Parses the body of a request that creates or changes an identity.
pub fn read_identity(body: &str) {
    if let Ok(value) = json::value(body) {
        drop(serde_json::from_value::<IdentityRequest>(value));
    }
}

/// Runs a bulk request over a new registry.
///
/// # Panics
///
/// Panics if the answer does not contain the outcome of each item.
pub fn run_bulk(body: &str) {
    let Ok(Value::Array(items)) = json::value(body) else { return };
    let state = State::open(None, vec!["localhost".to_owned()]);
    let state = state.expect("a state in memory can be opened");
    let count = items.len();
    let Some(answer) = rest::bulk(Arc::clone(&state), items) else { return };
    let errors = answer["errors"].as_array().expect("a list of errors");
    assert!(errors.len() <= count);
    assert_eq!(answer["isSuccessful"], errors.is_empty());
    assert!(
        errors.iter().all(|error| error["errorCode"].is_i64() || error["errorCode"].is_string())
    );
}

/// Writes a configuration with the body of a request, and applies it to a device.
///
/// # Panics
///
/// Panics if the twin exceeds its limits, if the document cannot be read back, or if a
/// property is left after the configuration is deleted.
pub fn write_configuration(body: &str) {
    let Ok(Value::Object(body)) = json::value(body) else { return };
    let rest = rest();
    rest.state.create_device(&"d".parse().expect("a valid id")).expect("a new device");
    let desired = || {
        let twin = rest.state.after(None)[0].twin_view();
        let mut desired = twin["properties"]["desired"].as_object().cloned().unwrap_or_default();
        desired.retain(|key, _| !key.starts_with('$'));
        desired
    };
    let Ok(written) = rest.configurations.put("fuzzed", &WriteCondition::New, body) else { return };
    let read: Configuration = serde_json::from_value(json!(written)).expect("its own output");
    assert_eq!(read, written);
    rest.configurations.evaluate();
    assert!(size(&desired()) <= MAX_SECTION_BYTES);
    let any = WriteCondition::Match(IfMatch::Any);
    assert_eq!(rest.configurations.delete("fuzzed", &any), Ok(()));
    rest.configurations.evaluate();
    let left = desired();
    assert!(left.values().all(Value::is_object), "{left:?}");
}

/// Creates a job with the body of a request.
///
/// # Panics
///
/// Panics if an accepted job cannot be read back.
pub fn create_job(body: &str) {
    let Ok(created) = rest().jobs.create("fuzzed", body) else { return };
    let text = serde_json::to_string(&created).expect("plain data");
    let read: Job = serde_json::from_str(&text).expect("its own output");
    assert_eq!(read, created);
}

fn rest() -> Rest {
    let state = State::open(None, vec!["localhost".to_owned()]).expect("a state in memory");
    Rest::without_devices(state, &CancellationToken::new())
}

/// Accepts a request for a certificate, and issues the certificate.
///
/// # Panics
///
/// Panics if a request that is refused names no code with a status of an error.
pub fn request_certificate(body: &[u8]) {
    static CREDENTIALS: LazyLock<Credentials> = LazyLock::new(|| {
        let authority = Authority::open(None).expect("an authority in memory can be created");
        let faults = Arc::new(Faults::default());
        let sessions = Arc::new(Sessions::new(Arc::clone(&faults), Arc::default()));
        Credentials::new(Arc::new(authority), Duration::from_secs(60), sessions, faults)
    });
    let (device, rid) = ("d1".parse().expect("an id"), "fuzz".parse().expect("a request id"));
    match CREDENTIALS.accept(&device, true, &rid, body, None) {
        Ok(accepted) => drop(CREDENTIALS.issue(&device, &accepted, None)),
        Err(error) => assert!((400..600).contains(&(error.error_code / 1000)), "{error:?}"),
    }
}

/// Sets a fault by the body of a request.
///
/// # Panics
///
/// Panics if the listed fault differs from the one that was set.
pub fn set_fault(body: &str) {
    let Ok(Value::Object(body)) = json::value(body) else { return };
    let Ok(ControlRequest::Fault(fault)) = ControlRequest::parse(Value::Object(body)) else {
        return;
    };
    let faults = Faults::default();
    if faults.set(fault).is_err() {
        return;
    }
    for waiting in faults.waiting() {
        let listed = serde_json::to_value(FaultJson::from(&waiting)).expect("plain data");
        assert_eq!(ControlRequest::parse(listed), Ok(ControlRequest::Fault(waiting)));
    }
}
