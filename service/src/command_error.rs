//! Exit codes and hints of errors.

use std::fmt::Display;

use behaviour_service::rollout::RolloutError;
use behaviour_service::{EntraSignIn, ServiceError, ServiceErrorKind};
use program::{Classify, ExitKind};
use protocol::connection_string::ConnectionStringError;
use protocol::error::{ErrorCode, ResponseCode};
use protocol::provisioning::ProvisioningErrorCode;
use trust::{Distrust, TrustError};

pub(crate) type CommandError = program::CommandError<FailureKind>;

/// The kind of a failure, which determines the exit code. Failures outside the library have
/// the kind [`ServiceErrorKind::Other`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum FailureKind {
    /// Invalid usage that `clap` does not detect. The exit code is the same as `clap`'s.
    Usage,
    Service(ServiceErrorKind),
}

impl Default for FailureKind {
    fn default() -> FailureKind {
        FailureKind::Service(ServiceErrorKind::Other)
    }
}

/// Returns the error of a wrong command line.
pub(crate) fn usage(message: impl Display) -> CommandError {
    CommandError::new(FailureKind::Usage, message)
}

impl ExitKind for FailureKind {
    fn exit_code(self) -> u8 {
        let FailureKind::Service(kind) = self else { return 2 };
        match kind {
            ServiceErrorKind::Other => 1,
            ServiceErrorKind::Offline => 3,
            ServiceErrorKind::NotFound => 4,
            ServiceErrorKind::TimedOut => 5,
            ServiceErrorKind::Unauthorised => 6,
            ServiceErrorKind::Device => 7,
            ServiceErrorKind::Unreachable => 8,
        }
    }

    fn name(self) -> &'static str {
        let FailureKind::Service(kind) = self else { return "usage" };
        match kind {
            ServiceErrorKind::Other => "other",
            ServiceErrorKind::Offline => "offline",
            ServiceErrorKind::NotFound => "not-found",
            ServiceErrorKind::TimedOut => "timed-out",
            ServiceErrorKind::Unauthorised => "unauthorised",
            ServiceErrorKind::Device => "device",
            ServiceErrorKind::Unreachable => "unreachable",
        }
    }
}

impl Classify<anyhow::Error> for FailureKind {}

impl Classify<ConnectionStringError> for FailureKind {
    fn hint(error: &ConnectionStringError) -> Option<String> {
        let hint = match error {
            ConnectionStringError::DeviceString => {
                "this is a device's connection string; behaviour-hub and \"Shared access policies\" \
                 in the Azure portal show the service's"
            }
            _ => "copy it whole: behaviour-hub and the Azure portal show it",
        };
        Some(hint.to_owned())
    }
}

impl Classify<ServiceError> for FailureKind {
    fn classify(error: &ServiceError) -> FailureKind {
        FailureKind::Service(error.kind())
    }

    fn code(error: &ServiceError) -> Option<String> {
        error.code().map(|code| format!("{code:?}"))
    }

    fn hint(error: &ServiceError) -> Option<String> {
        let hint = match (error, error.kind()) {
            (ServiceError::Unreachable { distrust: Some(Distrust::Authority), .. }, _) => {
                "use a server certificate that the authority has signed, not the certificate of the authority"
            }
            (ServiceError::Unreachable { distrust: Some(Distrust::Name), .. }, _) => {
                "HostName in IOTHUB_CONNECTION_STRING must be a name of the hub's certificate"
            }
            (ServiceError::Unreachable { distrust: Some(Distrust::Issuer), .. }, _) => {
                "set --ca-file or IOTHUB_CA_FILE to the certificate of the authority that signs for \
                 this hub"
            }
            (ServiceError::AccessDenied(_), _) => {
                "give the application or the user a role at the hub or the Device Provisioning \
                 Service, such as IoT Hub Data Contributor, and check AZURE_TENANT_ID"
            }
            (ServiceError::SignIn { is_reachable: false, .. }, _) => {
                "check the network, and AZURE_AUTHORITY_HOST if it is set"
            }
            (ServiceError::SignIn { sign_in, .. }, _) => match sign_in {
                EntraSignIn::Environment => {
                    "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET to those of an \
                     application"
                }
                EntraSignIn::WorkloadIdentity => {
                    "set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE; in \
                     Kubernetes, the webhook of workload identity does so"
                }
                EntraSignIn::AzureCli => "install the Azure CLI, and run `az login`",
            },
            (ServiceError::Trust(TrustError::NoCertificates), _) => {
                "install the system's certificates (Debian: ca-certificates), or set --ca-file"
            }
            (ServiceError::Trust(_), _) => {
                "set --ca-file or IOTHUB_CA_FILE to a PEM file of certificates"
            }
            (_, ServiceErrorKind::Offline) => {
                "start the device; --connect-timeout waits for one that is about to connect"
            }
            (ServiceError::Hub { response, .. }, ServiceErrorKind::NotFound)
                if response.code == ResponseCode::Absent =>
            {
                "check HostName in IOTHUB_CONNECTION_STRING and any proxies: the response does not \
                                 come from an IoT Hub"
            }
            (ServiceError::Hub { subject, .. }, ServiceErrorKind::NotFound)
                if subject.starts_with("configuration ") =>
            {
                "check the id; `behaviour-service configurations list` prints all of them"
            }
            (ServiceError::Hub { response, .. }, ServiceErrorKind::NotFound)
                if response.code == ResponseCode::Known(ErrorCode::JobNotFound) =>
            {
                "check the id; `behaviour-service jobs list` prints all of them"
            }
            (ServiceError::Hub { response, .. }, ServiceErrorKind::Other)
                if response.http_status == 412 =>
            {
                "another client has changed it meanwhile; run the command again"
            }
            (_, ServiceErrorKind::NotFound) => {
                "check the device's id; `behaviour-service devices create ID` registers one"
            }
            (_, ServiceErrorKind::Unauthorised) => {
                "check SharedAccessKeyName and SharedAccessKey in IOTHUB_CONNECTION_STRING, the \
                 policy's permissions and this machine's clock"
            }
            (ServiceError::Unreachable { distrust: Some(_), .. }, _) => return None,
            (_, ServiceErrorKind::Unreachable) => {
                "check HostName in IOTHUB_CONNECTION_STRING and the network; behaviour-hub listens \
                 for services on port 8443 by default"
            }
            (ServiceError::NotReported { .. }, _) => {
                "the device may still be down; --timeout waits longer"
            }
            (ServiceError::NotRebooted { .. }, _) => {
                "see the log of the device's host: its reboot command failed, or the machine did \
                                 not restart in time"
            }
            (_, ServiceErrorKind::TimedOut) => {
                "the method may still be running; --timeout waits longer, up to 300 s"
            }
            (_, ServiceErrorKind::Device | ServiceErrorKind::Other) => return None,
        };
        Some(hint.to_owned())
    }
}

impl Classify<RolloutError> for FailureKind {
    fn classify(error: &RolloutError) -> FailureKind {
        match error {
            RolloutError::Service(error) => {
                <FailureKind as Classify<ServiceError>>::classify(error)
            }
            RolloutError::Name(_) | RolloutError::TooLong(_) => FailureKind::Usage,
            RolloutError::NoDevices(_) => FailureKind::Service(ServiceErrorKind::NotFound),
            RolloutError::Unfinished { .. } => FailureKind::default(),
        }
    }

    fn code(error: &RolloutError) -> Option<String> {
        match error {
            RolloutError::Service(error) => <FailureKind as Classify<ServiceError>>::code(error),
            _ => None,
        }
    }

    fn hint(error: &RolloutError) -> Option<String> {
        match error {
            RolloutError::Service(error) => <FailureKind as Classify<ServiceError>>::hint(error),
            RolloutError::TooLong(_) => Some("shorten --target, for example by a tag".to_owned()),
            RolloutError::NoDevices(_) => {
                Some("`behaviour-service query` prints the devices of a condition".to_owned())
            }
            RolloutError::Unfinished { .. } => Some(
                "end it with `behaviour-service rollout abort` or `rollout back`, or continue it \
                 with `rollout resume`"
                    .to_owned(),
            ),
            RolloutError::Name(_) => None,
        }
    }
}

/// An error of the Device Provisioning Service, whose hints differ from those of a hub.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct EnrollmentError(pub(crate) ServiceError);

impl Classify<EnrollmentError> for FailureKind {
    fn classify(error: &EnrollmentError) -> FailureKind {
        FailureKind::Service(error.0.kind())
    }

    fn hint(EnrollmentError(error): &EnrollmentError) -> Option<String> {
        let ServiceError::Provisioning { http_status, error, .. } = error else {
            let hint = <FailureKind as Classify<ServiceError>>::hint(error)?;
            return Some(
                hint.replace("IOTHUB_CONNECTION_STRING", "PROVISIONING_CONNECTION_STRING"),
            );
        };
        let hint = match http_status {
            401 => {
                "check SharedAccessKeyName and SharedAccessKey in PROVISIONING_CONNECTION_STRING \
                 and this machine's clock; the connection string of a hub is not enough"
            }
            404 if error.error_code == ProvisioningErrorCode::RegistrationNotFound.number() => {
                "the device has not registered since; `groups registrations GROUP` prints the \
                 registrations of a group"
            }
            404 => "check the id; the command `list` prints all of them",
            409 => "it exists already; the command `update` changes it",
            412 => "another client has changed it meanwhile; run the command again",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use protocol::error::ErrorResponse;

    use super::*;

    fn reported(http_status: u16, header: Option<&str>, body: &str) -> (u8, String) {
        let response = ErrorResponse::parse(http_status, header, body);
        let error = ServiceError::Hub { subject: "device `d1`".to_owned(), response };
        let error = CommandError::from(error);
        (error.kind().exit_code(), error.to_string())
    }

    #[test]
    fn a_response_without_a_code_is_reported_with_its_http_status() {
        let bad_gateway = reported(502, None, "<html>");
        assert_eq!(bad_gateway, (1, "error: device `d1`: HTTP 502\n".to_owned()));
        let hint = "hint: check HostName in IOTHUB_CONNECTION_STRING and any proxies: the \
                    response does not come from an IoT Hub\n";
        let not_found = reported(404, None, "");
        assert_eq!(not_found, (4, format!("error: device `d1`: HTTP 404\n{hint}")));
    }

    #[test]
    fn an_unknown_code_is_reported_unchanged() {
        let body = r#"{"Message":"{\"errorCode\":503001,\"message\":\"busy\"}"}"#;
        let expected = "error: device `d1`: 503001 (HTTP 503): busy\n";
        assert_eq!(reported(503, None, body), (1, expected.to_owned()));
    }
}
