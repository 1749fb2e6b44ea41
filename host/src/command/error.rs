//! The exit code and the hint that follow from an error.

use std::process::ExitCode;

#[cfg(unix)]
use behaviour_host::control::AskError;
use behaviour_host::{ConfigError, FleetError, StartError};
use protocol::connection_string::ConnectionStringError;

#[cfg(unix)]
use super::plugins;
use super::run::{IDENTITY, NoIdentity};
use super::simulate;

/// As those of `behaviour-service`: 1 other, 2 usage, 3 no host runs, 4 no such
/// plugin.
pub(super) fn exit_code(error: &anyhow::Error) -> ExitCode {
    #[cfg(unix)]
    match error.downcast_ref::<AskError>() {
        Some(AskError::NoHost) => return ExitCode::from(3),
        _ if error.is::<plugins::UnknownPlugin>() => return ExitCode::from(4),
        _ => {}
    }
    #[cfg(not(unix))]
    let _ = error;
    ExitCode::FAILURE
}

pub(super) fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(error) = error.downcast_ref::<StartError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<FleetError>() {
        return Some(simulate::hint(error));
    }
    #[cfg(unix)]
    if let Some(error) = error.downcast_ref::<AskError>() {
        return Some(error.hint().to_owned());
    }
    if error.is::<ConnectionStringError>() {
        return Some("copy it whole: behaviour-hub and the Azure portal show it".into());
    }
    match error.downcast_ref::<ConfigError>() {
        Some(ConfigError::Read { .. }) => {
            return Some("name the file with --config; host.example.toml shows all keys".into());
        }
        Some(_) => return Some("host.example.toml shows all keys".into()),
        None => {}
    }
    error.downcast_ref::<NoIdentity>().map(|_| {
        format!(
            "set {IDENTITY}, or `connection_string_file` under [hub]; behaviour-hub and the Azure \
             portal show the device's connection string"
        )
    })
}
