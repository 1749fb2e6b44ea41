//! `[host.registry]`: the fetching of plugins that are named by an image.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin::readable_url;
use protocol::host_name::HostName;

use super::{ConfigError, file, within};

/// Default size of the content store. It holds some hundred components of kilobytes, or a few of
/// interpreters such as CPython (18 MB).
const STORE_BYTES: u64 = 512 * 1024 * 1024;

/// Settings in `[host.registry]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySection {
    /// Hosts that are asked before a registry, by the registry's host.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// PEM file of certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// File of credentials in the format of Docker's `config.json`.
    pub credentials_file: Option<PathBuf>,
    /// Directory in the OCI image layout that is searched before any registry.
    pub offline_directory: Option<PathBuf>,
    /// Registries and mirrors that are reached without TLS.
    pub plain_http: Vec<String>,
    /// Maximum size of the content store, in bytes.
    pub store_bytes: u64,
    /// Maximum rate of a download in bytes per second; `None` for no limit.
    pub bytes_per_second: Option<u64>,
    /// Window over which the devices of a fleet spread their downloads.
    pub spread: Duration,
    /// Time limit for a connection, and for each wait for bytes.
    pub timeout: Duration,
    /// Time limit for all content of a plugin.
    pub fetch_time: Duration,
}

pub(super) fn registry(
    section: file::RegistryKeys,
    directory: &Path,
) -> Result<RegistrySection, ConfigError> {
    let absolute = |path: Option<PathBuf>| path.map(|path| directory.join(path));
    let second = Duration::from_secs(1);
    let hosts =
        section.mirrors.iter().flat_map(|(host, mirrors)| std::iter::once(host).chain(mirrors));
    for host in hosts.chain(&section.plain_http) {
        check_host(host)?;
    }
    Ok(RegistrySection {
        mirrors: section.mirrors,
        ca_file: absolute(section.ca_file),
        credentials_file: absolute(section.credentials_file),
        offline_directory: absolute(section.offline_directory),
        plain_http: section.plain_http,
        store_bytes: section.store_bytes.map_or(STORE_BYTES, NonZeroU64::get),
        bytes_per_second: section.bytes_per_second.map(NonZeroUsize::get).map(|it| it as u64),
        spread: within(
            "host.registry.spread",
            section.spread,
            10 * second,
            Duration::ZERO,
            24 * 3600 * second,
        )?,
        timeout: within(
            "host.registry.timeout",
            section.timeout,
            30 * second,
            second,
            600 * second,
        )?,
        fetch_time: within(
            "host.registry.fetch_time",
            section.fetch_time,
            900 * second,
            second,
            24 * 3600 * second,
        )?,
    })
}

/// Checks that `text` is a host with an optional port, as in the name of an image.
fn check_host(text: &str) -> Result<(), ConfigError> {
    match is_registry(text) {
        true => Ok(()),
        false => Err(ConfigError::RegistryHost(readable_url(text).into_owned())),
    }
}

/// Returns `true` for a host with an optional port. An IPv6 address has brackets.
pub(super) fn is_registry(text: &str) -> bool {
    let is_bare_v6 = !text.starts_with('[') && text.matches(':').count() > 1;
    !is_bare_v6 && text.parse::<HostName>().is_ok()
}
