//! Check of a configuration without a connection. Reports all errors, not only the first.

use super::RunError;
use crate::config::{Attestation, Config, IdentitySection};
use crate::connection::{self, CertificateError, OptionsError, RequiredName};
use crate::control::Control;
use crate::fleet::Supplies;
use crate::identity::Identity;
use crate::journal::{self, JournalError};
use crate::lent::http::Http;
use crate::otlp;
use crate::plugins::{self, Loader, PluginError};
use plugin::EngineError;

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
pub fn check(config: &Config, identity: Option<&Identity>) -> CheckReport {
    let mut report = CheckReport::default();
    let errors = &mut report.errors;
    errors.extend(connection::tls(&config.hub).err().map(RunError::from));
    let wrong = match identity {
        Some(Identity::ConnectionString(_)) if config.provisioning.is_some() => {
            Some(OptionsError::TwoIdentities)
        }
        Some(Identity::ConnectionString(identity)) => {
            connection::check_identity(identity, &config.hub).err()
        }
        Some(Identity::Registration(_)) if config.provisioning.is_none() => {
            Some(OptionsError::NoProvisioning)
        }
        Some(Identity::Registration(_)) | None => None,
    };
    errors.extend(wrong.map(RunError::from));
    let wrong = check_certificate(config, identity).err();
    errors.extend(wrong.map(OptionsError::from).map(RunError::from));
    errors.extend(check_issued(config, identity).err());
    errors.extend(check_data(config, identity).err().map(RunError::from));
    errors.extend(Control::check(config).err().map(RunError::from));
    if config.fetches() {
        errors.extend(Supplies::check(config).into_iter().map(RunError::from));
    }
    let of_otlp = otlp::check(&config.host.otlp, |name| std::env::var(name).ok());
    errors.extend(of_otlp.into_iter().map(RunError::from));
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

/// Checks the files of the configured certificate, if there is one. The name is not checked
/// unless the identity or the configuration has it.
fn check_certificate(config: &Config, identity: Option<&Identity>) -> Result<(), CertificateError> {
    let Some(section) = certificate(config) else { return Ok(()) };
    let name = match (identity, &config.provisioning) {
        (Some(Identity::ConnectionString(identity)), _) => Some(RequiredName::of(identity)),
        (_, Some(section)) => section.registration_id.clone().map(RequiredName::Registration),
        (Some(Identity::Registration(_)) | None, None) => None,
    };
    connection::check_certificate(section, name.as_ref())
}

/// Checks the key of the issued certificate in a token, and the certificate if there is one. One
/// that has expired is no error: the device registers for another.
fn check_issued(config: &Config, identity: Option<&Identity>) -> Result<(), RunError> {
    let Some(Identity::Registration(registration)) = identity else { return Ok(()) };
    let data = super::way::data_directory(config, registration)?;
    let Some(file) = super::way::issued_file(registration, config, &data) else { return Ok(()) };
    Ok(file.check_key()?)
}

/// Returns the files of the certificate with which the device signs in, if there are any.
pub(super) fn certificate(config: &Config) -> Option<&IdentitySection> {
    let provisioning = config.provisioning.as_ref().map(|section| &section.attestation);
    match provisioning {
        Some(Attestation::Certificate(section)) => Some(section),
        _ => config.hub.identity.as_ref(),
    }
}

/// Checks the data directory. Skips the default directory if there is no identity.
fn check_data(config: &Config, identity: Option<&Identity>) -> Result<(), JournalError> {
    let directory = match (&config.host.data, identity) {
        (Some(directory), _) => directory.clone(),
        (None, Some(identity)) => journal::default_directory(&identity.data_name())?,
        (None, None) => return Ok(()),
    };
    journal::check_directory(&directory)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_check_reads_the_certificates_of_a_plugin_that_is_not_yet_fetched() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "host = {{ data = \"data\", compile_cache = \"compiled\" }}\n[plugins.a]\n\
             image = \"r.example/a@sha256:{}\"\nmethods = [\"*\"]\ncapabilities = [\"http\"]\n\
             http = {{ hosts = [\"h.example\"], ca_file = \"none.pem\" }}\n",
            "0".repeat(64)
        );
        let config = Config::parse(&text, folder.path()).unwrap();
        let errors = check(&config, None).errors;
        let is_missing = |error: &RunError| matches!(error, RunError::Plugin(PluginError::Trust { name, .. }) if name == "a");
        assert!(errors.iter().any(is_missing), "{errors:?}");
    }

    #[test]
    fn a_check_reads_the_header_fields_for_otlp() {
        let folder = tempfile::tempdir().unwrap();
        let text = "plugins.a = { file = \"a.wasm\", methods = [\"*\"] }\n\
                    host = { data = \"data\", compile_cache = \"compiled\", \
                    otlp = { endpoint = \"http://h:4318\", headers_file = \"headers\" } }\n";
        let config = Config::parse(text, folder.path()).unwrap();
        let errors = || {
            let errors = check(&config, None).errors.into_iter();
            let errors = errors.filter(|error| matches!(error, RunError::Otlp(_)));
            errors.map(|error| error.to_string()).collect::<Vec<_>>()
        };
        let path = folder.path().join("headers");
        let start = format!("`host.otlp.headers_file`: {}", path.display());
        assert_eq!(errors(), [start], "it is missing");
        fs::write(&path, "api-key: secret\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(errors()[0].contains("has mode 644"), "{:?}", errors());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(errors().is_empty(), "{:?}", errors());
        fs::write(&path, "secret\n").unwrap();
        assert!(errors()[0].contains("is no header field"), "{:?}", errors());
    }
}
