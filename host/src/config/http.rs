//! `[plugins.NAME.http]`: HTTP requests of a plugin.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use plugin::{Capability, HttpHostError, HttpSettings, MAX_DEADLINE};
use program::duration::display;

use super::file;

/// Error in a table `[plugins.NAME.http]`.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Capability `http` without hosts.
    #[error("the capability `http` needs `hosts` in this table")]
    NoHosts,
    /// Hosts without the capability `http`.
    #[error("needs `capabilities = [\"http\"]`")]
    NoCapability,
    /// Invalid host pattern.
    #[error("`hosts`")]
    Host(#[from] HttpHostError),
    /// Timeout that is zero or longer than the longest deadline of a call.
    #[error("`timeout` is {}, not between 1ms and {}", display(*.0), display(MAX_DEADLINE))]
    Timeout(Duration),
}

pub(super) fn http(
    section: Option<&file::HttpKeys>,
    capabilities: &BTreeSet<Capability>,
    directory: &Path,
) -> Result<HttpSettings, HttpError> {
    let (section, granted) = match (section, capabilities.contains(&Capability::Http)) {
        (None, false) => return Ok(HttpSettings::default()),
        (None, true) => return Err(HttpError::NoHosts),
        (Some(section), granted) => (section, granted),
    };
    if !granted {
        return Err(HttpError::NoCapability);
    }
    if section.hosts.is_empty() {
        return Err(HttpError::NoHosts);
    }
    let default = HttpSettings::default();
    let timeout = section.timeout.map_or(default.timeout, |period| period.0);
    if timeout.is_zero() || timeout > MAX_DEADLINE {
        return Err(HttpError::Timeout(timeout));
    }
    Ok(HttpSettings {
        hosts: section.hosts.iter().map(|host| host.parse()).collect::<Result<_, _>>()?,
        timeout,
        request_bytes: section.request_bytes.unwrap_or(default.request_bytes),
        response_bytes: section.response_bytes.unwrap_or(default.response_bytes),
        requests: section.requests.unwrap_or(default.requests),
        ca_file: section.ca_file.as_ref().map(|path| directory.join(path)),
    })
}
