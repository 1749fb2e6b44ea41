//! Names of plugins and ids of jobs for the completion of command lines.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use behaviour_host::control::{ControlAnswer, ControlRequest, ask};

/// Returns the names of the plugins of the running host, or else those in its configuration.
/// Returns an empty list if neither can be read.
pub(super) fn plugins() -> Vec<String> {
    let config = config_of(env::args_os());
    match ask(&config, &ControlRequest::List {}) {
        Ok(ControlAnswer::Plugins { plugins, .. }) => {
            plugins.into_iter().map(|plugin| plugin.name).collect()
        }
        _ => behaviour_host::Config::read(&config)
            .map(|config| config.plugins.into_keys().collect::<BTreeSet<_>>())
            .unwrap_or_default()
            .into_iter()
            .collect(),
    }
}

/// Returns the ids of the pending jobs of the running host. Returns an empty list if the host
/// does not answer.
pub(super) fn jobs() -> Vec<String> {
    match ask(&config_of(env::args_os()), &ControlRequest::Jobs {}) {
        Ok(ControlAnswer::Jobs(jobs)) => jobs.into_iter().map(|job| job.id).collect(),
        _ => Vec::new(),
    }
}

/// Returns the configuration file of a command line that may be incomplete.
fn config_of(words: impl Iterator<Item = OsString>) -> PathBuf {
    let words: Vec<_> = words.collect();
    let value = |(index, word): (usize, &OsString)| match word.to_str()? {
        "--config" => words.get(index + 1).cloned(),
        word => word.strip_prefix("--config=").map(OsString::from),
    };
    let named = words.iter().enumerate().rev().find_map(value);
    named.map_or_else(|| PathBuf::from("host.toml"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_an_incomplete_command_line_is_found() {
        let of = |line: &str| config_of(line.split(' ').map(OsString::from));
        assert_eq!(of("host plugins disable "), PathBuf::from("host.toml"));
        assert_eq!(of("host plugins --config a.toml disable "), PathBuf::from("a.toml"));
        assert_eq!(of("host plugins --config=a.toml disable "), PathBuf::from("a.toml"));
    }
}
