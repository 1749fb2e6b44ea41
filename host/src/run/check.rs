//! Check of a configuration without a connection. Reports all errors, not only the first.

use plugin::EngineError;
use protocol::connection_string::DeviceConnectionString;

use super::RunError;
use crate::config::Config;
use crate::connection::{self, OptionsError};
use crate::control::Control;
use crate::journal::{self, JournalError};
use crate::lent::http::Http;
use crate::plugins::{self, Loader, PluginError};

/// Outcome of [`check`].
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Plugins that loaded.
    pub plugins: Vec<CheckedPlugin>,
    /// All errors that would prevent the first start of the host.
    pub errors: Vec<RunError>,
}

/// Plugin that loaded.
#[derive(Debug)]
pub struct CheckedPlugin {
    /// Name of the plugin in the configuration.
    pub name: String,
    /// Imports of the component.
    pub imports: Vec<String>,
}

/// Checks everything that `run` needs before its first connection. Checks that need an identity
/// are skipped without one. Only the compile cache is modified. Blocks.
pub fn check(config: &Config, identity: Option<&DeviceConnectionString>) -> CheckReport {
    let mut report = CheckReport::default();
    let errors = &mut report.errors;
    errors.extend(connection::tls(&config.hub).err().map(RunError::from));
    if let Some(identity) = identity {
        let wrong = connection::check_identity(identity, &config.hub).err();
        errors.extend(wrong.map(RunError::from));
    }
    let wrong = connection::check_certificate(&config.hub, identity).err();
    errors.extend(wrong.map(OptionsError::from).map(RunError::from));
    errors.extend(check_data(config, identity).err().map(RunError::from));
    errors.extend(Control::check(config).err().map(RunError::from));
    errors.extend(Http::check(config).into_iter().map(RunError::from));
    let (loader, error) = loader(config);
    errors.extend(error.map(RunError::from));
    for (name, loaded) in plugins::load_each(loader.as_ref(), config) {
        match loaded {
            Ok(Some(loaded)) => {
                let imports = loaded.plugin.imports().to_vec();
                report.plugins.push(CheckedPlugin { name, imports });
            }
            Ok(None) => {}
            Err(error) => report.errors.push(error.into()),
        }
    }
    report
}

/// Creates a loader. If its cache is unusable, returns the error and a loader with the default
/// cache, so that the plugins are checked anyway.
fn loader(config: &Config) -> (Option<Loader>, Option<PluginError>) {
    let error = match Loader::new(config) {
        Ok(loader) => return (Some(loader), None),
        Err(error) => error,
    };
    let is_cache = matches!(error, PluginError::Engine(EngineError::Cache { .. }));
    let mut other = config.clone();
    let has_other = other.host.compile_cache.take().is_some();
    ((is_cache && has_other).then(|| Loader::new(&other).ok()).flatten(), Some(error))
}

/// Checks the data directory. Skips the default directory if there is no identity.
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
