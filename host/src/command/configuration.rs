//! The configuration file that every command names.

use std::fmt;
use std::path::PathBuf;

use behaviour_host::{Config, ConfigError};
use clap::Args;

#[derive(Args)]
pub(crate) struct Common {
    /// The configuration
    #[arg(long, default_value = "host.toml", value_name = "FILE")]
    pub(super) config: PathBuf,
    /// Certificates to trust beside the system's, where host.toml names none
    #[arg(long, env = "IOTHUB_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

pub(super) fn read(common: &Common) -> anyhow::Result<Config> {
    let path = &common.config;
    let mut config = Config::read(path).map_err(|error| match error {
        ConfigError::Read { .. } => anyhow::Error::new(error),
        error => anyhow::Error::new(error).context(InFile(path.clone())),
    })?;
    if config.hub.ca_file.is_none() {
        config.hub.ca_file.clone_from(&common.ca_file);
    }
    Ok(config)
}

/// The name of a file before what is wrong in it.
#[derive(Debug)]
struct InFile(PathBuf);

impl fmt::Display for InFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}
