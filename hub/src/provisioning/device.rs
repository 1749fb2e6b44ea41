//! The device API: registrations and polls, the same for MQTT and HTTPS.

use protocol::provisioning::{
    AssignmentStatus, IdScope, MAX_MESSAGE_BYTES, OperationId, ProvisioningErrorCode,
    RegistrationId, RegistrationOperation, RegistrationRequest, RegistrationState,
};
use serde::Serialize;

use super::Provisioning;
use super::failure::ProvisioningFailure;
use crate::faults::{ChainDefect, Handling, Rejection, Step};
use crate::peer::Peer;
use crate::sessions::Ending;
use crate::stamps::guid;

/// A device that asks to be registered, not yet authenticated.
#[derive(Debug, Clone)]
pub(crate) struct Registrant {
    pub(crate) scope: IdScope,
    pub(crate) registration: RegistrationId,
    /// The SAS token; `None` for a device with a certificate.
    pub(crate) token: Option<String>,
    pub(crate) peer: Peer,
    /// `true` if the API version of the request has the connection profile of the hub.
    pub(crate) names_profile: bool,
}

/// A request of a device.
#[derive(Debug, Clone)]
pub(crate) enum DeviceRequest {
    /// A registration with its body.
    Register(Vec<u8>),
    /// A poll of a registration in progress.
    Poll(OperationId),
    /// A request for the recorded registration. Only over HTTPS.
    Recorded,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceAnswer {
    /// The status, as in HTTP.
    pub(crate) status: u16,
    /// Number of seconds to wait before the next request.
    pub(crate) retry_after: Option<u64>,
    /// The id of the request, which errors contain.
    pub(crate) request_id: String,
    pub(crate) body: Vec<u8>,
}

impl DeviceRequest {
    /// Returns the step of the protocol at which faults happen.
    pub(crate) fn step(&self) -> Step {
        match self {
            DeviceRequest::Register(_) => Step::DpsRegister,
            DeviceRequest::Poll(_) | DeviceRequest::Recorded => Step::DpsStatus,
        }
    }
}

impl Provisioning {
    /// Checks the credentials of a device that connects with a certificate, so that MQTT can
    /// refuse the connection.
    pub(crate) fn check_certificate(
        &self,
        registrant: &Registrant,
    ) -> Result<(), ProvisioningFailure> {
        self.admit(registrant).map(drop)
    }

    /// Answers a request. A fault can change the answer.
    pub(crate) fn answer(
        &self,
        registrant: &Registrant,
        request: &DeviceRequest,
        handling: &Handling,
    ) -> DeviceAnswer {
        let answered = match handling.rejection {
            Some(Rejection::Throttled) => Err(ProvisioningErrorCode::Throttled.into()),
            Some(Rejection::Conflict) => Err(ProvisioningErrorCode::OperationInProgress.into()),
            Some(Rejection::ServerError) => Err(ProvisioningErrorCode::Internal.into()),
            rejection => match request {
                DeviceRequest::Register(body) => {
                    self.register(registrant, body, handling.chain_defect)
                }
                DeviceRequest::Poll(operation) => {
                    let still_assigning = rejection == Some(Rejection::Assigning);
                    self.poll(registrant, operation, still_assigning)
                }
                DeviceRequest::Recorded => self.recorded(registrant),
            },
        };
        if handling.disables {
            self.disable(&registrant.registration);
        }
        let mut answer = answered.unwrap_or_else(|failure| {
            let error = failure.to_error();
            DeviceAnswer {
                status: failure.code.http_status(),
                retry_after: Some(self.settings.retry_after.as_secs())
                    .filter(|_| failure.code == ProvisioningErrorCode::Throttled),
                body: to_json(&error),
                request_id: error.tracking_id,
            }
        });
        if handling.is_broken {
            answer.body.truncate(answer.body.len() / 2);
        }
        answer
    }

    fn register(
        &self,
        registrant: &Registrant,
        body: &[u8],
        defect: Option<ChainDefect>,
    ) -> Result<DeviceAnswer, ProvisioningFailure> {
        let Registrant { registration, .. } = registrant;
        let mut admission = self.admit(registrant)?;
        let request = parse(body)?;
        if request.registration_id.is_some_and(|id| !id.eq_ignore_ascii_case(registration.as_str()))
        {
            let message = "registrationId in the body is not that of the request";
            return Err(ProvisioningFailure::invalid(message));
        }
        let state = match admission.is_enabled() {
            true => {
                let issue = |csr: String| self.issue(registration, &mut admission, &csr, defect);
                let chain = request.csr.map(issue).transpose()?;
                let state = self.assign(registrant, &admission)?;
                RegistrationState { issued_certificate_chain: chain, ..state }
            }
            false => RegistrationState::new(registration.clone(), AssignmentStatus::Disabled),
        };
        tracing::info!(%registration, status = ?state.status, "device registered");
        let operation_id = self.operations.start(registration.clone(), state);
        // Like the service in Azure, never answers with the outcome at once: clients expect to
        // poll.
        let status = AssignmentStatus::Assigning;
        let operation = RegistrationOperation { operation_id, status, registration_state: None };
        Ok(self.in_progress(&operation))
    }

    fn poll(
        &self,
        registrant: &Registrant,
        operation: &OperationId,
        still_assigning: bool,
    ) -> Result<DeviceAnswer, ProvisioningFailure> {
        let Registrant { registration, .. } = registrant;
        self.admit(registrant)?;
        let outcome = self.operations.outcome(operation, registration);
        let outcome = outcome.ok_or(ProvisioningErrorCode::RegistrationNotFound)?;
        let state = match still_assigning {
            true => RegistrationState::new(registration.clone(), AssignmentStatus::Assigning),
            false => outcome.as_ref().clone(),
        };
        let operation = RegistrationOperation {
            operation_id: operation.clone(),
            status: state.status,
            registration_state: Some(state),
        };
        match still_assigning {
            true => Ok(self.in_progress(&operation)),
            false => Ok(finished(&operation)),
        }
    }

    fn recorded(&self, registrant: &Registrant) -> Result<DeviceAnswer, ProvisioningFailure> {
        self.admit(registrant)?;
        let known = self.state.registration(registrant.registration.as_str());
        let known = known.ok_or(ProvisioningErrorCode::RegistrationNotFound)?;
        Ok(finished(&self.for_device(known.state.clone(), registrant)))
    }

    fn in_progress(&self, operation: &RegistrationOperation) -> DeviceAnswer {
        let retry_after = Some(self.settings.retry_after.as_secs());
        DeviceAnswer { status: 202, retry_after, request_id: guid(), body: to_json(operation) }
    }

    /// Disables the device at the hub, as an operator could between its registration and its
    /// connection.
    fn disable(&self, registration: &RegistrationId) {
        let device = self.state.registration(registration.as_str());
        let device = device.and_then(|known| known.state.device_id.clone());
        let Some(device) = device else { return };
        match self.state.disable(&device) {
            Ok(()) => self.sessions.end_device(&device, Ending::Revoked),
            Err(error) => {
                tracing::warn!(%device, error = error.message, "fault: device not disabled");
            }
        }
    }
}

/// Parses the body of a registration. MQTT clients may send an empty one.
fn parse(body: &[u8]) -> Result<RegistrationRequest, ProvisioningFailure> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(ProvisioningErrorCode::TooLarge.into());
    }
    let text = std::str::from_utf8(body)
        .map_err(|_| ProvisioningFailure::invalid("the body is not UTF-8"))?;
    if text.trim().is_empty() {
        return Ok(RegistrationRequest::default());
    }
    let value = json::value(text)
        .map_err(|error| ProvisioningFailure::invalid(format!("the body {error}")))?;
    if value.get("tpm").is_some_and(|tpm| !tpm.is_null()) {
        let message = "tpm: this hub does not support attestation with a TPM";
        return Err(ProvisioningFailure::invalid(message));
    }
    serde_json::from_value(value).map_err(|error| ProvisioningFailure::invalid(error.to_string()))
}

fn finished(body: &impl Serialize) -> DeviceAnswer {
    DeviceAnswer { status: 200, retry_after: None, request_id: guid(), body: to_json(body) }
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("answers are plain data")
}
