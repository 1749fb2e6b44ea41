//! Arguments that name the configuration file.

use std::path::{Path, PathBuf};

use behaviour_host::{Config, ConfigError};
use clap::Args;

use super::error::CommandError;

#[derive(Args)]
pub(crate) struct ConfigurationArguments {
    /// Configuration file
    #[arg(long, default_value = "host.toml", value_name = "FILE")]
    pub(super) config: PathBuf,
    /// CA certificates to trust in addition to the system's, unless host.toml names a file
    #[arg(long, env = "IOTHUB_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Reads the configuration. The error message starts with the file name.
pub(super) fn read(common: &ConfigurationArguments) -> Result<Config, CommandError> {
    let path = &common.config;
    let config = Config::read(path).map_err(|error| named(error, path))?;
    Ok(common.with_ca_file(config))
}

/// Reads the configuration, and returns all of its errors, each with the file name.
pub(super) fn read_for_check(common: &ConfigurationArguments) -> Result<Config, Vec<CommandError>> {
    let path = &common.config;
    let config = Config::read(path).map_err(|error| {
        let errors = error.into_all().into_iter();
        errors.map(|error| named(error, path)).collect::<Vec<_>>()
    })?;
    Ok(common.with_ca_file(config))
}

/// Adds the name of the file to an error, unless the error names it.
fn named(error: ConfigError, path: &Path) -> CommandError {
    match error {
        ConfigError::Read { .. } => error.into(),
        error => CommandError::from(error).context(path.display()),
    }
}

impl ConfigurationArguments {
    /// Sets the CA file of the command line, unless the configuration names one.
    pub(super) fn with_ca_file(&self, mut config: Config) -> Config {
        if config.hub.ca_file.is_none() {
            config.hub.ca_file.clone_from(&self.ca_file);
        }
        config
    }
}
