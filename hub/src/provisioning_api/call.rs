//! Paths of requests to the Device Provisioning Service.

use axum::http::Method;
use protocol::provisioning::service::{ATTESTATION_MECHANISM, EnrollmentKind};
use protocol::provisioning::{IdScope, OperationId, RegistrationId};
use protocol::rest;

use crate::provisioning::ProvisioningFailure;

/// A request to the Device Provisioning Service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    Device(DeviceCall),
    Service(ServiceCall),
}

/// A request of a device.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct DeviceCall {
    pub(super) scope: IdScope,
    pub(super) registration: RegistrationId,
    pub(super) action: DeviceAction,
}

/// The action that a device requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DeviceAction {
    Register,
    Poll(OperationId),
    Recorded,
}

/// A request of a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServiceCall {
    Put(EnrollmentKind, String),
    Get(EnrollmentKind, String),
    Delete(EnrollmentKind, String),
    Attestation(EnrollmentKind, String),
    Bulk(EnrollmentKind),
    Query(EnrollmentKind),
    GetRegistration(String),
    DeleteRegistration(String),
    QueryRegistrations(String),
}

/// Reason why a path is no call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// A path of the hub itself.
    OtherPath,
    /// A method that the path does not have.
    Method,
    /// A malformed id.
    Id(ProvisioningFailure),
}

impl Call {
    /// Parses the method and the path of a request.
    pub(super) fn parse(method: &Method, path: &str) -> Result<Call, CallError> {
        let segments: Option<Vec<String>> =
            path.trim_matches('/').split('/').map(rest::decoded).collect();
        let segments = segments.ok_or(CallError::OtherPath)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let Some((first, others)) = segments.split_first() else {
            return Err(CallError::OtherPath);
        };
        let kinds = [EnrollmentKind::Individual, EnrollmentKind::Group];
        if let Some(kind) = kinds.into_iter().find(|kind| is(first, kind.segment())) {
            return enrollments(kind, method, others).map(Call::Service);
        }
        if is(first, "registrations") {
            return registrations(method, others).map(Call::Service);
        }
        match others {
            // A device of the hub can have the id `registrations`.
            [word, others @ ..] if is(word, "registrations") && !is_of_hub(first) => {
                device(method, first, others).map(Call::Device)
            }
            _ => Err(CallError::OtherPath),
        }
    }
}

fn is(segment: &str, word: &str) -> bool {
    segment.eq_ignore_ascii_case(word)
}

fn is_of_hub(segment: &str) -> bool {
    ["devices", "twins"].contains(&segment)
}

fn enrollments(
    kind: EnrollmentKind,
    method: &Method,
    segments: &[&str],
) -> Result<ServiceCall, CallError> {
    match (method, segments) {
        (&Method::POST, []) => Ok(ServiceCall::Bulk(kind)),
        (&Method::POST, [query]) if is(query, "query") => Ok(ServiceCall::Query(kind)),
        (&Method::PUT, [id]) => Ok(ServiceCall::Put(kind, (*id).to_owned())),
        (&Method::GET, [id]) => Ok(ServiceCall::Get(kind, (*id).to_owned())),
        (&Method::DELETE, [id]) => Ok(ServiceCall::Delete(kind, (*id).to_owned())),
        (&Method::POST, [id, word]) if is(word, ATTESTATION_MECHANISM) => {
            Ok(ServiceCall::Attestation(kind, (*id).to_owned()))
        }
        _ => Err(CallError::Method),
    }
}

fn registrations(method: &Method, segments: &[&str]) -> Result<ServiceCall, CallError> {
    match (method, segments) {
        (&Method::GET, [id]) => Ok(ServiceCall::GetRegistration((*id).to_owned())),
        (&Method::DELETE, [id]) => Ok(ServiceCall::DeleteRegistration((*id).to_owned())),
        (&Method::POST, [group, query]) if is(query, "query") => {
            Ok(ServiceCall::QueryRegistrations((*group).to_owned()))
        }
        _ => Err(CallError::Method),
    }
}

fn device(method: &Method, scope: &str, segments: &[&str]) -> Result<DeviceCall, CallError> {
    let invalid = |error: protocol::id::IdError| {
        CallError::Id(ProvisioningFailure::invalid(error.to_string()))
    };
    let (registration, action) = match (method, segments) {
        (&Method::PUT, [id, word]) if is(word, "register") => (id, DeviceAction::Register),
        (&Method::GET, [id, word, operation]) if is(word, "operations") => {
            (id, DeviceAction::Poll(operation.parse().map_err(invalid)?))
        }
        (&Method::POST, [id]) => (id, DeviceAction::Recorded),
        _ => return Err(CallError::Method),
    };
    Ok(DeviceCall {
        scope: scope.parse().map_err(invalid)?,
        registration: registration.parse().map_err(invalid)?,
        action,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_of_the_official_clients_are_calls() {
        let individual = EnrollmentKind::Individual;
        let group = EnrollmentKind::Group;
        for (method, path, call) in [
            (Method::PUT, "/enrollments/a%3Ab", ServiceCall::Put(individual, "a:b".into())),
            (Method::POST, "/enrollments/", ServiceCall::Bulk(individual)),
            (Method::POST, "/enrollmentGroups/query", ServiceCall::Query(group)),
            (
                Method::POST,
                "/enrollmentgroups/g/attestationmechanism",
                ServiceCall::Attestation(group, "g".into()),
            ),
            (Method::DELETE, "/registrations/a", ServiceCall::DeleteRegistration("a".into())),
            (Method::POST, "/registrations/g/query", ServiceCall::QueryRegistrations("g".into())),
        ] {
            assert_eq!(Call::parse(&method, path), Ok(Call::Service(call)), "{method} {path}");
        }
        let register = Call::parse(&Method::PUT, "/0ne00000000/registrations/a/register");
        let action = DeviceAction::Register;
        let (scope, registration) = ("0ne00000000".parse().unwrap(), "a".parse().unwrap());
        assert_eq!(register, Ok(Call::Device(DeviceCall { scope, registration, action })));
    }

    #[test]
    fn the_paths_of_the_hub_are_not_calls() {
        for path in [
            "/",
            "/devices/registrations",
            "/twins/registrations/methods",
            "/devices/registrations/modules",
            "/$iothub/websocket",
            "/statistics/devices",
        ] {
            assert_eq!(Call::parse(&Method::POST, path), Err(CallError::OtherPath), "{path}");
        }
        for path in ["/enrollments", "/0ne/registrations/a/b", "/registrations"] {
            assert_eq!(Call::parse(&Method::GET, path), Err(CallError::Method), "{path}");
        }
    }
}
