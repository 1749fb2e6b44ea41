//! Tests of the service without a transport.

mod admission;
mod assignment;
mod enrollments;
mod issuance;

use std::sync::Arc;

use protocol::provisioning::{
    OperationId, ProvisioningError, RegistrationOperation, RegistrationState, resource,
};
use protocol::sas::{Key, sign};
use serde_json::{Value, json};

use super::*;
use crate::certificates::PeerCertificates;
use crate::faults::{Effect, Faults, Handling};
use crate::peer::Peer;
use crate::stamps::now_unix;

/// A device's view of a service.
pub(super) struct Rig {
    pub(super) service: Provisioning,
    pub(super) state: Arc<State>,
}

impl Rig {
    pub(super) fn new(authorities: DeviceAuthorities) -> Rig {
        let names = ["localhost", "a.local", "b.local"].map(str::to_owned);
        let state = State::open(None, names.into()).unwrap();
        let sessions = Arc::new(Sessions::new(Arc::<Faults>::default(), Arc::default()));
        let issuer = Arc::new(Authority::open(None).unwrap());
        let settings = ProvisioningSettings {
            retry_after: Duration::from_secs(3),
            certificate_lifetime: Duration::from_secs(60),
            mqtt_port: 18_883,
            https_port: 8443,
        };
        let state_of_service = Arc::clone(&state);
        let service = Provisioning::new(state_of_service, sessions, authorities, issuer, settings);
        Rig { service, state }
    }

    /// Writes an enrollment or a group, in place of an existing one.
    pub(super) fn enroll(&self, kind: EnrollmentKind, id: &str, entry: Value) -> Enrollment {
        let exists = self.state.enrollment(kind, id).is_some();
        let condition = if exists { IfMatch::Any } else { IfMatch::Absent };
        let entry = serde_json::from_value(entry).unwrap();
        self.service.write_enrollment(kind, id, entry, &condition).unwrap().as_ref().clone()
    }

    /// Creates an individual enrollment with generated keys, and returns the primary key.
    pub(super) fn with_key(&self, id: &str) -> Key {
        let entry = json!({ "attestation": { "type": "symmetricKey" } });
        let entry = self.enroll(EnrollmentKind::Individual, id, entry);
        entry::keys(&entry).unwrap().0
    }

    pub(super) fn registrant(&self, id: &str, key: &Key) -> Registrant {
        let (scope, registration) = (self.service.id_scope(), id.parse().unwrap());
        let resource = resource(&scope, &registration);
        let token = Some(sign(&resource, Some("registration"), key, now_unix() + 60).to_string());
        let (peer, names_profile) = (Peer::default(), false);
        Registrant { scope, registration, token, peer, names_profile }
    }

    pub(super) fn with_certificates(&self, id: &str, certificates: PeerCertificates) -> Registrant {
        let peer = Peer { certificates, ..Peer::default() };
        let scope = self.service.id_scope();
        let registration = id.parse().unwrap();
        Registrant { scope, registration, token: None, peer, names_profile: false }
    }

    pub(super) fn answer(&self, registrant: &Registrant, request: &DeviceRequest) -> DeviceAnswer {
        self.service.answer(registrant, request, &Handling::REGULAR)
    }

    /// Registers and returns the operation, or the error.
    pub(super) fn begin(
        &self,
        registrant: &Registrant,
        body: &str,
    ) -> Result<OperationId, ProvisioningError> {
        let answer = self.answer(registrant, &DeviceRequest::Register(body.into()));
        if answer.status != 202 {
            return Err(serde_json::from_slice(&answer.body).unwrap());
        }
        assert_eq!(answer.retry_after, Some(3));
        let operation: RegistrationOperation = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(operation.registration_state, None);
        Ok(operation.operation_id)
    }

    /// Registers, polls once and returns the registration, or the code of the error.
    pub(super) fn register(&self, registrant: &Registrant) -> Result<RegistrationState, u32> {
        let operation = self.begin(registrant, "{}").map_err(|error| error.error_code)?;
        let answer = self.answer(registrant, &DeviceRequest::Poll(operation));
        assert_eq!((answer.status, answer.retry_after), (200, None));
        let operation: RegistrationOperation = serde_json::from_slice(&answer.body).unwrap();
        let state = operation.registration_state.unwrap();
        assert_eq!(state.status, operation.status);
        Ok(state)
    }

    /// Returns a twin as services see it.
    pub(super) fn twin(&self, device: &str) -> Arc<Value> {
        self.state.get(&crate::state::Owner::device(&device.parse().unwrap())).unwrap().twin_view()
    }
}

#[test]
fn a_fault_changes_the_answer_to_a_poll() {
    let rig = Rig::new(DeviceAuthorities::default());
    let registrant = rig.registrant("d1", &rig.with_key("d1"));
    let operation = rig.begin(&registrant, "").unwrap();
    let poll = DeviceRequest::Poll(operation);
    let with = |effect: Effect| rig.service.answer(&registrant, &poll, &effect.handling());
    let body = |answer: &DeviceAnswer| serde_json::from_slice::<Value>(&answer.body).unwrap();

    let assigning = with(Effect::Assigning);
    assert_eq!((assigning.status, assigning.retry_after), (202, Some(3)));
    assert_eq!(body(&assigning)["registrationState"]["registrationId"], "d1");
    let throttled = with(Effect::Throttle);
    assert_eq!((throttled.status, throttled.retry_after), (429, Some(3)));
    let conflict = with(Effect::Conflict);
    assert_eq!(body(&conflict)["errorCode"], 409_203);
    let failed = with(Effect::ServerError);
    assert_eq!((failed.status, body(&failed)["errorCode"].as_u64()), (500, Some(500_000)));
    let broken = with(Effect::BrokenBody);
    assert_eq!(broken.status, 200);
    assert!(serde_json::from_slice::<Value>(&broken.body).is_err());
    assert_eq!(rig.twin("d1")["status"], "enabled");
    assert_eq!(with(Effect::Disable).status, 200);
    assert_eq!(rig.twin("d1")["status"], "disabled");
}

#[test]
fn an_operation_belongs_to_its_device() {
    let rig = Rig::new(DeviceAuthorities::default());
    let (first, second) = (rig.with_key("d1"), rig.with_key("d2"));
    let operation = rig.begin(&rig.registrant("d1", &first), "").unwrap();
    let other = rig.registrant("d2", &second);
    let answer = rig.answer(&other, &DeviceRequest::Poll(operation));
    assert_eq!(answer.status, 404);
    // The device itself has not registered either.
    assert_eq!(rig.answer(&other, &DeviceRequest::Recorded).status, 404);
}

#[test]
fn an_invalid_body_is_refused_with_its_reason() {
    let rig = Rig::new(DeviceAuthorities::default());
    let registrant = rig.registrant("d1", &rig.with_key("d1"));
    for (body, message) in [
        ("[", "the body is not JSON"),
        (r#"{"registrationId":"d2"}"#, "registrationId in the body is not that of the request"),
        (r#"{"tpm":{"endorsementKey":"AA=="}}"#, "tpm: this hub does not support attestation"),
    ] {
        let error = rig.begin(&registrant, body).unwrap_err();
        assert_eq!(error.error_code, 400_000);
        assert!(error.message.starts_with(message), "{}", error.message);
    }
    assert!(rig.begin(&registrant, r#"{"registrationId":"D1","payload":{"a":1}}"#).is_ok());
}
