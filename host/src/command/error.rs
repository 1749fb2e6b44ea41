//! Exit codes and hints of failures.

use behaviour_host::control::AskError;
use behaviour_host::{ConfigError, FleetError, RunError};
use program::{Classify, ExitKind};
use protocol::connection_string::ConnectionStringError;

pub(crate) type CommandError = program::CommandError<CommandErrorKind>;

/// Kinds of failure with their own exit codes, for scripts. The codes agree with those of
/// `behaviour-service`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum CommandErrorKind {
    #[default]
    Other,
    /// No host runs with this configuration.
    NoHost,
    /// No plugin of this name is in the host's configuration.
    UnknownPlugin,
}

impl ExitKind for CommandErrorKind {
    fn exit_code(self) -> u8 {
        match self {
            CommandErrorKind::Other => 1,
            CommandErrorKind::NoHost => 3,
            CommandErrorKind::UnknownPlugin => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            CommandErrorKind::Other => "other",
            CommandErrorKind::NoHost => "no-host",
            CommandErrorKind::UnknownPlugin => "unknown-plugin",
        }
    }
}

/// The hint for the connection string of a service in place of a device's.
const OF_SERVICE: &str = "this is a service's connection string; `behaviour-service devices \
    connection-string ID` and the device's page in the Azure portal show the device's";

impl Classify<anyhow::Error> for CommandErrorKind {}

impl Classify<ConnectionStringError> for CommandErrorKind {
    fn hint(error: &ConnectionStringError) -> Option<String> {
        let hint = match error {
            ConnectionStringError::OfService => OF_SERVICE,
            _ => "copy it whole: behaviour-hub and the Azure portal show it",
        };
        Some(hint.to_owned())
    }
}

impl Classify<ConfigError> for CommandErrorKind {
    fn hint(error: &ConfigError) -> Option<String> {
        let hint = match error {
            ConfigError::Read { .. } => {
                "name the file with --config; `behaviour-host example` prints one with all keys"
            }
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
            FleetError::Line { source: ConnectionStringError::OfService, .. } => OF_SERVICE,
            FleetError::Line { .. } => {
                "a line is one device connection string, whole; behaviour-hub and the Azure portal \
                 show it"
            }
            FleetError::Twice { .. } => "a device has one connection at a time: remove one line",
            FleetError::Read { .. } | FleetError::TooFew { .. } => {
                "make the file with `behaviour-service devices create --prefix sim- --count N`"
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
