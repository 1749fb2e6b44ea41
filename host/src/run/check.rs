//! Everything that a start needs, tried without a connection and without an end at the
//! first error.

use plugin::EngineError;
use protocol::connection_string::DeviceConnectionString;

use super::RunError;
use crate::config::Config;
use crate::connection;
use crate::control::Control;
use crate::journal::{self, JournalError};
use crate::lent::http::Http;
use crate::plugins::{self, Loader, PluginError};

/// Outcome of [`check`].
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Plugins that load.
    pub plugins: Vec<CheckedPlugin>,
    /// Everything that would keep the host from its first start.
    pub errors: Vec<RunError>,
}

/// A plugin that loads.
#[derive(Debug)]
pub struct CheckedPlugin {
    /// Its name in the configuration.
    pub name: String,
    /// Imports of its component.
    pub imports: Vec<String>,
}

/// Checks everything that `run` needs before its first connection, and leaves nothing
/// behind but compiled plugins in the cache. Without an identity, what depends on it is
/// left out. Blocks.
pub fn check(config: &Config, identity: Option<&DeviceConnectionString>) -> CheckReport {
    let mut report = CheckReport::default();
    let errors = &mut report.errors;
    errors.extend(connection::tls(&config.hub).err().map(RunError::from));
    if let Some(identity) = identity {
        errors.extend(connection::check_identity(identity).err().map(RunError::from));
    }
    errors.extend(check_data(config, identity).err().map(RunError::from));
    errors.extend(Control::check(config).err().map(RunError::from));
    errors.extend(Http::check(config).into_iter().map(RunError::from));
    let loader = match loader(config) {
        Ok(loader) => Some(loader),
        Err((error, loader)) => {
            errors.push(error.into());
            loader
        }
    };
    for (name, section) in &config.plugins {
        let made = plugins::read(name, section).and_then(|file| {
            loader.as_ref().map(|loader| loader.load(name, section, &file)).transpose()
        });
        match made {
            Ok(Some(made)) => {
                let imports = made.plugin.imports().to_vec();
                report.plugins.push(CheckedPlugin { name: name.clone(), imports });
            }
            Ok(None) => {}
            Err(error) => report.errors.push(error.into()),
        }
    }
    report
}

/// Makes the engine. Where its cache cannot be used, the error comes with one that has
/// another cache, so that the plugins are checked all the same.
fn loader(config: &Config) -> Result<Loader, (PluginError, Option<Loader>)> {
    Loader::new(config).map_err(|error| {
        let is_cache = matches!(error, PluginError::Engine(EngineError::Cache { .. }));
        let mut other = config.clone();
        let has_other = other.host.compile_cache.take().is_some();
        (error, (is_cache && has_other).then(|| Loader::new(&other).ok()).flatten())
    })
}

fn check_data(
    config: &Config,
    identity: Option<&DeviceConnectionString>,
) -> Result<(), JournalError> {
    let directory = match (&config.host.data, identity) {
        (Some(directory), _) => directory.clone(),
        (None, Some(identity)) => journal::default_directory(&journal::name_of(identity))?,
        (None, None) => return Ok(()),
    };
    journal::check_directory(&directory)
}
