//! `[host.metrics]`: the listener for programs that collect metrics.

use std::net::SocketAddr;

use plugin::readable_url;

use super::ConfigError;

/// Settings in `[host.metrics]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MetricsSection {
    /// Loopback address on which metrics are served; `None` if they are not.
    pub listen: Option<SocketAddr>,
}

/// Parses the address, which must be a loopback one because the listener has no sign-in.
pub(super) fn metrics(listen: Option<&str>) -> Result<MetricsSection, ConfigError> {
    let Some(text) = listen else { return Ok(MetricsSection::default()) };
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(MetricsSection { listen: Some(address) }),
        _ => Err(ConfigError::MetricsAddress(readable_url(text).into_owned())),
    }
}
