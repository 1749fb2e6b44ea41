//! Targets of the Device Provisioning Service and of sign-in.

use std::fmt::Debug;

use protocol::provisioning::enrollment::Enrollment;
use protocol::provisioning::service::{BulkRequest, BulkResult};
use protocol::provisioning::{
    IdScope, OperationId, ProvisioningAnswer, ProvisioningError, ProvisioningTopic,
    ProvisioningUserName, RegistrationId, RegistrationOperation, RegistrationRequest,
    RegistrationState,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::check_round_trip;

/// Texts and bodies of the Device Provisioning Service, and a device that registers with them.
pub(crate) fn provisioning(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_round_trip::<ProvisioningTopic>(text);
    check_round_trip::<ProvisioningAnswer>(text);
    check_round_trip::<ProvisioningUserName>(text);
    check_round_trip::<RegistrationId>(text);
    check_round_trip::<OperationId>(text);
    check_round_trip::<IdScope>(text);
    let (first, second) = text.split_once('\n').unwrap_or((text, ""));
    hub::fuzzing::provision(first, second);
    let Ok(body) = json::value(text) else { return };
    check_body::<RegistrationRequest>(&body);
    check_body::<RegistrationOperation>(&body);
    check_body::<RegistrationState>(&body);
    check_body::<ProvisioningError>(&body);
    check_body::<Enrollment>(&body);
    check_body::<BulkRequest>(&body);
    check_body::<BulkResult>(&body);
}

/// Asserts that a parsed body is printed as JSON that parses to the same value.
fn check_body<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &Value) {
    let Ok(read) = serde_json::from_value::<T>(body.clone()) else { return };
    let printed = serde_json::to_value(&read).unwrap();
    assert_eq!(serde_json::from_value::<T>(printed).unwrap(), read, "{body}");
}

/// A certificate of a device in DER.
pub(crate) fn certificates(bytes: &[u8]) {
    let der = bytes.to_vec().into();
    let Ok(certificate) = trust::Certificate::parse(&der) else { return };
    assert!((1..=3).contains(&certificate.version));
    assert!(!certificate.public_key.is_empty());
}

/// The `Authorization` header of a request, and the form of a request for a token.
pub(crate) fn access_tokens(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    hub::fuzzing::authorize(text);
}
