//! Arguments that name the configuration file.

use std::path::PathBuf;

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
    let config = Config::read(path).map_err(|error| match error {
        ConfigError::Read { .. } => error.into(),
        error => CommandError::from(error).context(path.display()),
    })?;
    Ok(common.with_ca_file(config))
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
