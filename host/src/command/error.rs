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
}

impl Classify<anyhow::Error> for CommandErrorKind {}

impl Classify<ConnectionStringError> for CommandErrorKind {
    fn hint(_: &ConnectionStringError) -> Option<String> {
        Some("copy it whole: behaviour-hub and the Azure portal show it".to_owned())
    }
}

impl Classify<ConfigError> for CommandErrorKind {
    fn hint(error: &ConfigError) -> Option<String> {
        let hint = match error {
            ConfigError::Read { .. } => {
                "name the file with --config; host.example.toml shows all keys"
            }
            _ => "host.example.toml shows all keys",
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
