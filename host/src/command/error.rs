//! Exit codes and hints of failures.

use behaviour_host::control::AskError;
use behaviour_host::{ConfigError, FleetError, RunError, WeakKey};
use program::{Classify, ExitKind};
use protocol::connection_string::ConnectionStringError;
use protocol::sas::KeyError;

pub(crate) type CommandError = program::CommandError<CommandErrorKind>;

/// Kinds of failure. Each has an exit code, which is the same in `behaviour-service`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum CommandErrorKind {
    #[default]
    Other,
    /// Configuration with which no host is running.
    NoHost,
    /// Plugin that the host does not have.
    UnknownPlugin,
    /// Job that the host does not have.
    UnknownJob,
}

impl ExitKind for CommandErrorKind {
    fn exit_code(self) -> u8 {
        match self {
            CommandErrorKind::Other => 1,
            CommandErrorKind::NoHost => 3,
            CommandErrorKind::UnknownPlugin | CommandErrorKind::UnknownJob => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            CommandErrorKind::Other => "other",
            CommandErrorKind::NoHost => "no-host",
            CommandErrorKind::UnknownPlugin => "unknown-plugin",
            CommandErrorKind::UnknownJob => "unknown-job",
        }
    }
}

/// Hint for a service's connection string where a device's is expected.
const SERVICE_STRING_HINT: &str = "this is a service's connection string; `behaviour-service devices \
    connection-string ID` and the device's page in the Azure portal show the device's";

impl Classify<anyhow::Error> for CommandErrorKind {}

impl Classify<ConnectionStringError> for CommandErrorKind {
    fn hint(error: &ConnectionStringError) -> Option<String> {
        let hint = match error {
            ConnectionStringError::ServiceString => SERVICE_STRING_HINT,
            _ => "copy the complete string: behaviour-hub and the Azure portal show it",
        };
        Some(hint.to_owned())
    }
}

/// Hint for a key that is not one of the Device Provisioning Service.
const COPY_KEY: &str = "copy the primary or secondary key of the enrollment, whole";

impl Classify<KeyError> for CommandErrorKind {
    fn hint(_: &KeyError) -> Option<String> {
        Some(COPY_KEY.to_owned())
    }
}

impl Classify<WeakKey> for CommandErrorKind {
    fn hint(_: &WeakKey) -> Option<String> {
        Some(COPY_KEY.to_owned())
    }
}

impl Classify<ConfigError> for CommandErrorKind {
    fn hint(error: &ConfigError) -> Option<String> {
        let hint = match error {
            ConfigError::Read { .. } => {
                "name the file with --config; `behaviour-host example` prints one with all keys"
            }
            ConfigError::Duplicate { .. } => {
                "remove the method from `methods` of one of them; `[\"*\"]` serves all methods that \
                 no plugin names"
            }
            ConfigError::TwoIdentities { .. } => {
                "remove one of them: with [provisioning], the Device Provisioning Service names \
                 the hub"
            }
            ConfigError::KeyUri { .. } => {
                "an example is pkcs11:token=device;object=key-1?module-path=/usr/lib/softhsm/\
                 libsofthsm2.so&pin-source=file:/etc/behaviour-host/pin"
            }
            ConfigError::RotateTokenKey => {
                "remove `rotate_key`, or remove `key_uri` for a key in the data directory"
            }
            ConfigError::TwoAttestations => {
                "keep one: `symmetric_key_file` for an individual enrollment, `group_key_file` \
                 for an enrollment group, or the certificate"
            }
            ConfigError::ProvisioningName { .. } => {
                "the overview of the Device Provisioning Service shows the ID scope, such as \
                 0ne00112233; the enrollment has the registration id"
            }
            ConfigError::NoKeys => {
                "add the PEM file of the publisher's public key to `keys` under [host.trust]; \
                 `signature = \"off\"` accepts images without a signature"
            }
            ConfigError::FleetWithoutImages | ConfigError::FleetImage(_) => {
                "write for example images = [\"registry.example.com/plugins/*\"]"
            }
            ConfigError::ImageNotPinned { .. } => {
                "append the digest, as in registry.example.com/plugins/reboot@sha256:…, or set \
                 `allow_tag = true`"
            }
            ConfigError::NoOrigin(_) => {
                "set `file` to a component on this device, or `image` to one in a registry"
            }
            ConfigError::FleetWithoutReport => {
                "remove `report_plugins_under`, or name a reported property"
            }
            ConfigError::OtlpEndpoint { source, .. } => source.hint(),
            ConfigError::Sha256 { .. } => "`sha256sum FILE` prints the digest of a file",
            _ => "`behaviour-host example` prints a file with all keys",
        };
        Some(hint.to_owned())
    }
}

impl Classify<RunError> for CommandErrorKind {
    fn hint(error: &RunError) -> Option<String> {
        error.hint()
    }
}

impl Classify<FleetError> for CommandErrorKind {
    fn hint(error: &FleetError) -> Option<String> {
        let hint = match error {
            FleetError::Line { source: ConnectionStringError::ServiceString, .. } => {
                SERVICE_STRING_HINT
            }
            FleetError::Line { .. } => {
                "each line is one complete device connection string; behaviour-hub and the Azure \
                 portal show it"
            }
            FleetError::Duplicate { .. } => {
                "a device has one connection at a time: remove one line"
            }
            FleetError::Prefix(_) => "set --prefix to letters, digits, `-`, `.`, `_` or `:`",
            FleetError::GroupKey(_) => COPY_KEY,
            FleetError::Read { .. } | FleetError::TooFew { .. } => {
                "create the file with `behaviour-service devices create --prefix sim- --count N`"
            }
        };
        Some(hint.to_owned())
    }
}

impl Classify<AskError> for CommandErrorKind {
    fn classify(error: &AskError) -> CommandErrorKind {
        match error {
            AskError::NoHost { .. } => CommandErrorKind::NoHost,
            _ => CommandErrorKind::Other,
        }
    }

    fn hint(error: &AskError) -> Option<String> {
        Some(error.hint().to_owned())
    }
}
