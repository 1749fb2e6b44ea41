//! The progress of a registration: the next step after each answer of the service. Has no
//! access to network and clock.

use std::time::Duration;

use protocol::host_name::HostName;
use protocol::id::DeviceId;
use protocol::mqtt5::ConnectionProfile;
use protocol::provisioning::{
    AssignmentStatus, DEFAULT_RETRY_AFTER_SECONDS, OperationId, ProvisioningAnswer,
    RegistrationOperation,
};

use super::failure::{Applicant, ProvisioningFailure};

/// The longest wait between two polls. The service closes connections that are silent for
/// longer than their keep-alive.
pub(super) const LONGEST_POLL: Duration = Duration::from_secs(120);

/// The next step of a registration.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A poll of the operation after a wait.
    Poll { operation: OperationId, after: Duration },
    /// The assignment.
    Assigned(Assigned),
}

/// The outcome of a registration.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) hub: HostName,
    pub(super) device: DeviceId,
    /// The connection profile of the hub, if the answer names it.
    pub(super) profile: Option<ConnectionProfile>,
    /// The certificate that the service has issued, and those of its authorities.
    pub(super) chain: Option<Vec<String>>,
}

/// Returns the step after an answer to the registration or to a poll.
pub(super) fn next(
    applicant: Applicant<'_>,
    answer: &ProvisioningAnswer,
    body: &[u8],
) -> Result<Step, ProvisioningFailure> {
    let retry_after = answer.retry_after.map(Duration::from_secs);
    if answer.status >= 300 {
        return Err(applicant.error(answer.status, body, retry_after));
    }
    let operation: RegistrationOperation = serde_json::from_slice(body)
        .map_err(|_| ProvisioningFailure::malformed("an answer without an operation"))?;
    let state = operation.registration_state;
    match operation.status {
        AssignmentStatus::Assigned => {
            let without_hub = || ProvisioningFailure::malformed("an assignment without a hub");
            let state = state.ok_or_else(without_hub)?;
            let hub = state.assigned_hub.ok_or_else(without_hub)?;
            let device = state.device_id.ok_or_else(without_hub)?;
            let profile = state.connection_profile.as_deref().map(str::parse).transpose();
            let profile = profile.map_err(|unknown| applicant.unknown_profile(&unknown))?;
            let chain = state.issued_certificate_chain;
            let hub = hub
                .parse()
                .map_err(|_| ProvisioningFailure::malformed("a hub that is not a host name"))?;
            Ok(Step::Assigned(Assigned { hub, device, profile, chain }))
        }
        AssignmentStatus::Failed => Err(applicant.failed(state.as_ref())),
        AssignmentStatus::Disabled => Err(applicant.disabled()),
        // A state that this version does not know is not the end of the operation.
        AssignmentStatus::Assigning | AssignmentStatus::Unassigned | AssignmentStatus::Unknown => {
            let default = Duration::from_secs(DEFAULT_RETRY_AFTER_SECONDS);
            let after = retry_after.unwrap_or(default).min(LONGEST_POLL);
            Ok(Step::Poll { operation: operation.operation_id, after })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::failure::FailureKind;
    use crate::identity::Registration;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    fn individual() -> Registration {
        Registration::with_key("pump-7".parse().unwrap(), KEY.parse().unwrap()).unwrap()
    }

    /// Returns the step of `pump-7`, with a key of an individual enrollment.
    fn step(
        status: u16,
        retry_after: Option<u64>,
        body: &str,
    ) -> Result<Step, ProvisioningFailure> {
        let answer = ProvisioningAnswer { status, rid: "1".parse().unwrap(), retry_after };
        next(Applicant(&individual()), &answer, body.as_bytes())
    }

    /// Checks the message of a failure and a part of its hint.
    fn check(registration: &Registration, status: u16, body: &str, expected: (&str, &str)) {
        let answer = ProvisioningAnswer { status, rid: "1".parse().unwrap(), retry_after: None };
        let failure = next(Applicant(registration), &answer, body.as_bytes()).unwrap_err();
        let prefix = "registration `pump-7` refused by the provisioning service: ";
        assert_eq!(failure.message.strip_prefix(prefix), Some(expected.0), "{failure:?}");
        let hint = failure.hint().unwrap();
        assert!(hint.contains(expected.1), "{hint}");
        assert!(!failure.message.contains('\n') && !hint.contains('\n'));
        assert_eq!(failure.kind, FailureKind::Refused);
    }

    #[test]
    fn a_registration_is_polled_after_the_wait_that_the_service_asks_for() {
        let poll = |seconds| {
            let (operation, after) = ("4.d0a6".parse().unwrap(), Duration::from_secs(seconds));
            Ok(Step::Poll { operation, after })
        };
        let assigning = r#"{"operationId":"4.d0a6","status":"assigning"}"#;
        assert_eq!(step(202, Some(3), assigning), poll(3));
        assert_eq!(step(202, None, assigning), poll(DEFAULT_RETRY_AFTER_SECONDS));
        assert_eq!(step(202, Some(86_400), assigning), poll(120));
        assert_eq!(step(202, Some(3), &assigning.replace("assigning", "parked")), poll(3));
    }

    #[test]
    fn an_assignment_needs_a_hub_and_a_device() {
        let text = r#"{"operationId":"4.d0a6","status":"assigned","registrationState":{"status":"assigned","assignedHub":"hub.example","deviceId":"Pump 7"}}"#;
        assert!(step(200, None, text).unwrap_err().message.ends_with("without an operation"));
        let text = text.replace("Pump 7", "Pump-7");
        let (hub, device) = ("hub.example".parse().unwrap(), "Pump-7".parse().unwrap());
        let assigned = |profile| Assigned { hub, device, profile, chain: None };
        assert_eq!(step(200, None, &text), Ok(Step::Assigned(assigned(None))));
        let without = text.replace(r#""assignedHub":"hub.example","#, "");
        assert!(step(200, None, &without).unwrap_err().message.ends_with("without a hub"));
        assert!(step(200, None, "").unwrap_err().message.ends_with("without an operation"));
    }

    #[test]
    fn an_unknown_connection_profile_is_refused_by_its_name() {
        let text = |profile: &str| {
            format!(
                r#"{{"operationId":"4.d0","status":"assigned","registrationState":{{"status":"assigned","assignedHub":"hub.example","deviceId":"d1","connectionProfile":{profile}}}}}"#
            )
        };
        for (profile, expected) in [
            ("null", None),
            (r#""classic""#, Some(ConnectionProfile::Classic)),
            (r#""mqttV5""#, Some(ConnectionProfile::MqttV5)),
        ] {
            let Ok(Step::Assigned(assigned)) = step(200, None, &text(profile)) else {
                panic!("{profile}")
            };
            assert_eq!(assigned.profile, expected);
        }
        let failure = step(200, None, &text(r#""amqp""#)).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        let start = "registration `pump-7`: assigned to a hub with an unknown connection profile \
                     `amqp`";
        assert!(failure.message.starts_with(start), "{failure:?}");
        assert!(failure.hint().unwrap().contains("newer version"));
    }

    #[test]
    fn every_refusal_is_one_line_with_a_way_out() {
        let id = || "pump-7".parse().unwrap();
        let group = Registration::with_group_key(id(), &KEY.parse().unwrap()).unwrap();
        let (key, certificate) = (individual(), Registration::with_certificate(id()));
        let error = |code: u32, message: &str| {
            format!(r#"{{"errorCode":{code},"message":"{message}","trackingId":"x"}}"#)
        };
        let wrong = error(401_000, "Unauthorized");
        check(&key, 401, &wrong, ("Unauthorized (401000)", "belongs into `group_key_file`"));
        check(&group, 401, &wrong, ("Unauthorized (401000)", "belongs into `symmetric_key_file`"));
        let wrong = error(401_002, "Invalid certificate");
        check(&certificate, 401, &wrong, ("Invalid certificate (401002)", "intermediate ones"));
        let no_hub = error(401_001, "IoTHub not found");
        check(&key, 401, &no_hub, ("IoTHub not found (401001)", "link an IoT hub"));
        let unknown = error(404_201, "Enrollment not found");
        check(&key, 404, &unknown, ("Enrollment not found (404201)", "create an enrollment"));
        let scope = error(404_000, "Not found");
        check(&key, 404, &scope, ("Not found (404000)", "set `id_scope`"));
        let twice = error(409_203, "Precondition failed.");
        check(&key, 409, &twice, ("Precondition failed. (409203)", "another device registers"));
        check(&key, 412, "", ("status 412", "check the enrollment"));
        let state = |status: &str, more: &str| {
            format!(
                r#"{{"operationId":"4.d0","status":"{status}","registrationState":{{"status":"{status}"{more}}}}}"#
            )
        };
        check(&key, 200, &state("disabled", ""), ("the enrollment is disabled", "enable"));
        let more = r#","errorCode":400207,"errorMessage":"Custom\nallocation failed""#;
        let failed = ("Custom\\nallocation failed (400207)", "check the enrollment");
        check(&key, 200, &state("failed", more), failed);
    }

    #[test]
    fn a_busy_service_is_asked_again_after_the_wait_that_it_asks_for() {
        for status in [429, 500, 503] {
            let failure = step(status, Some(30), "").unwrap_err();
            assert_eq!(failure.kind, FailureKind::Busy);
            assert_eq!(failure.retry_after, Some(Duration::from_secs(30)));
        }
    }
}
