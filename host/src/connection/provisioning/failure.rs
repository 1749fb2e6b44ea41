//! Failures of registrations, described for the operator.

use std::time::Duration;

use protocol::mqtt5::UnknownProfile;
use protocol::provisioning::{ProvisioningError, ProvisioningErrorCode as Code, RegistrationState};
use rumqttc::ConnectReturnCode;

use crate::connection::certificate::CertificateError;
use crate::connection::failure::{ConnectionFailure, FailureKind};
use crate::connection::issued::ChainRefusal;
use crate::connection::options_error::OptionsError;
use crate::identity::{Registration, RegistrationCredential};
use crate::issued::IssuedError;

/// The reason why a registration failed, with a hint for the operator. Its message is one line
/// and shows no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ProvisioningFailure {
    pub(super) message: String,
    hint: Option<&'static str>,
    pub(super) kind: FailureKind,
    /// The wait that the service asks for.
    pub(super) retry_after: Option<Duration>,
}

/// The device that registers, for messages about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Applicant<'a>(pub(super) &'a Registration);

impl ProvisioningFailure {
    /// Returns a hint on how to fix the failure, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }

    /// Returns `true` if the service has refused the device, which needs an operator.
    pub(crate) fn is_refusal(&self) -> bool {
        self.kind == FailureKind::Refused
    }

    /// Returns the wait that the service asks for.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Creates the failure for an operation that has not ended within this time.
    pub(super) fn not_assigned(within: Duration) -> ProvisioningFailure {
        let within = within.as_secs();
        let message = format!(
            "the provisioning service has not assigned the device to a hub within {within} s"
        );
        let kind = FailureKind::Lost;
        ProvisioningFailure { message, hint: Some(CHECK_ALLOCATION), kind, retry_after: None }
    }

    /// Creates the failure for an answer that is not one of the service.
    pub(super) fn malformed(what: &str) -> ProvisioningFailure {
        let message = format!("the provisioning service sent {what}");
        let kind = FailureKind::Lost;
        ProvisioningFailure { message, hint: Some(CHECK_SERVICE), kind, retry_after: None }
    }

    /// Creates the failure for an assignment without the certificate that was requested.
    pub(super) fn not_issued() -> ProvisioningFailure {
        let message = "the provisioning service has issued no certificate".to_owned();
        ProvisioningFailure::refused(message, NO_POLICY)
    }

    /// Creates the failure for an assignment that the device cannot use.
    pub(super) fn unusable(error: &OptionsError) -> ProvisioningFailure {
        let message = format!("assignment not usable: {}", program::chain(error));
        ProvisioningFailure::refused(message, CHECK_ASSIGNMENT)
    }

    fn refused(message: String, hint: &'static str) -> ProvisioningFailure {
        let kind = FailureKind::Refused;
        ProvisioningFailure { message, hint: Some(hint), kind, retry_after: None }
    }
}

impl From<ConnectionFailure> for ProvisioningFailure {
    fn from(failure: ConnectionFailure) -> ProvisioningFailure {
        let ConnectionFailure { message, hint, kind } = failure.of_provisioning();
        let hint = hint.unwrap_or(match kind {
            FailureKind::Busy => REPEAT,
            FailureKind::Refused | FailureKind::Identity => CHECK_SERVICE,
            _ => CHECK_NETWORK,
        });
        ProvisioningFailure { message, hint: Some(hint), kind, retry_after: None }
    }
}

impl From<IssuedError> for ProvisioningFailure {
    fn from(error: IssuedError) -> ProvisioningFailure {
        let message = program::chain(&error).to_string();
        ProvisioningFailure::refused(message, error.hint())
    }
}

impl From<ChainRefusal> for ProvisioningFailure {
    fn from(refusal: ChainRefusal) -> ProvisioningFailure {
        let message = program::chain(&refusal).to_string();
        ProvisioningFailure::refused(message, refusal.hint())
    }
}

impl Applicant<'_> {
    /// Converts the return code of a CONNACK that refuses the connection. `invalid` is the error
    /// of a certificate that is not valid now.
    pub(super) fn not_accepted(
        self,
        code: ConnectReturnCode,
        invalid: Option<&CertificateError>,
    ) -> ProvisioningFailure {
        match code {
            ConnectReturnCode::NotAuthorized | ConnectReturnCode::BadUserNamePassword => {
                match invalid {
                    Some(error) => self.with_id(&program::chain(error).to_string(), error.hint()),
                    None => self.refusal("sign-in refused"),
                }
            }
            code => ConnectionFailure::refused(code, false).into(),
        }
    }

    /// Converts an answer with the status of an error.
    pub(super) fn error(
        self,
        status: u16,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> ProvisioningFailure {
        let error: Option<ProvisioningError> = serde_json::from_slice(body).ok();
        let code = error.as_ref().map_or(u32::from(status) * 1000, |error| error.error_code);
        let reason = match &error {
            Some(error) if !error.message.is_empty() => {
                format!("{} ({code})", json::excerpt(&error.message, 120))
            }
            _ => format!("status {status}"),
        };
        // Throttling and errors of the service itself end sooner or later.
        if status == 429 || status >= 500 {
            let message = format!("the provisioning service is busy: {reason}");
            let kind = FailureKind::Busy;
            return ProvisioningFailure { message, hint: Some(REPEAT), kind, retry_after };
        }
        let is = |known: Code| known.number() == code;
        let hint = match status {
            _ if is(Code::HubNotFound) => NO_HUB,
            _ if is(Code::EnrollmentNotFound) => NO_ENROLLMENT,
            _ if is(Code::NotFound) => CHECK_SCOPE,
            _ if is(Code::OperationInProgress) => TWO_DEVICES,
            401 => return self.refusal(&reason),
            _ => CHECK_ENROLLMENT,
        };
        self.with_id(&reason, hint)
    }

    /// Converts an operation that has failed.
    pub(super) fn failed(self, state: Option<&RegistrationState>) -> ProvisioningFailure {
        let message = state.and_then(|state| state.error_message.as_deref()).unwrap_or("failed");
        let reason = json::excerpt(message, 120);
        match state.and_then(|state| state.error_code).filter(|code| *code != 0) {
            Some(code) => self.with_id(&format!("{reason} ({code})"), CHECK_ENROLLMENT),
            None => self.with_id(&reason, CHECK_ENROLLMENT),
        }
    }

    /// Creates the failure for a disabled enrollment.
    pub(super) fn disabled(self) -> ProvisioningFailure {
        self.with_id("the enrollment is disabled", ENABLE)
    }

    /// Creates the failure for an assignment to a hub with a profile that the host does not know.
    pub(super) fn unknown_profile(self, profile: &UnknownProfile) -> ProvisioningFailure {
        let message = format!("registration `{}`: assigned to a hub with an {profile}", self.0.id);
        ProvisioningFailure::refused(message, OTHER_HUB)
    }

    /// Creates the failure for a credential that the service does not accept.
    fn refusal(self, reason: &str) -> ProvisioningFailure {
        let hint = match self.0.credential {
            RegistrationCredential::Certificate => CHECK_CERTIFICATE,
            RegistrationCredential::DerivedKey(_) => CHECK_GROUP_KEY,
            RegistrationCredential::Key(_) => CHECK_KEY,
        };
        self.with_id(reason, hint)
    }

    fn with_id(self, reason: &str, hint: &'static str) -> ProvisioningFailure {
        let id = &self.0.id;
        let message = format!("registration `{id}` refused by the provisioning service: {reason}");
        ProvisioningFailure::refused(message, hint)
    }
}

const OTHER_HUB: &str = "install a newer version of behaviour-host, or link a hub with a known \
                         profile to the Device Provisioning Service";
const CHECK_ASSIGNMENT: &str = "enroll the device with a certificate, or link another hub to the \
                                Device Provisioning Service; `profile` under [hub] must be that \
                                of the hub, or be removed";
const REPEAT: &str = "repeat this later; a running host does so by itself, when the service asks \
                      for it";
const CHECK_NETWORK: &str = "check the network, and `endpoint` under [provisioning]; a running host \
                             tries again by itself";
const CHECK_SERVICE: &str = "`endpoint` under [provisioning] must be a Device Provisioning \
                             Service; a running host tries again by itself";
const CHECK_ALLOCATION: &str = "check the allocation policy of the enrollment, and the IoT hubs \
                                that it allows";
const NO_POLICY: &str = "set a `credentialPolicyName` in the enrollment, or remove \
                         [provisioning.issued_certificate]";
const NO_HUB: &str = "link an IoT hub to the Device Provisioning Service, and allow it in the \
                      enrollment";
const NO_ENROLLMENT: &str = "create an enrollment for this registration id, or correct \
                             `registration_id` and `id_scope` under [provisioning]";
const CHECK_SCOPE: &str = "set `id_scope` under [provisioning] to the ID scope in the overview of \
                           the Device Provisioning Service";
const TWO_DEVICES: &str = "another device registers with the same device id: give each \
                           enrollment its own";
const CHECK_ENROLLMENT: &str = "check the enrollment of this registration id in the Device \
                                Provisioning Service";
const ENABLE: &str = "enable the enrollment in the Device Provisioning Service";
const CHECK_CERTIFICATE: &str = "the certificate must be that of the individual enrollment, or be \
                                 sent with intermediate ones up to an authority that the service \
                                 has verified; also check `id_scope` and this machine's clock";
const CHECK_KEY: &str = "copy a key of the individual enrollment; the key of an enrollment group \
                         belongs into `group_key_file`; also check `id_scope` and this machine's \
                         clock";
const CHECK_GROUP_KEY: &str = "copy a key of the enrollment group; the key of an individual \
                               enrollment belongs into `symmetric_key_file`; also check \
                               `id_scope` and this machine's clock";
