//! `[host]`: settings of the host itself.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin::readable;

use super::commits::CommitLimits;
use super::metrics::{self, MetricsSection};
use super::otlp::{self, OtlpSection};
use super::reboot::{RebootCommand, RebootLimits};
use super::registry::{self, RegistrySection};
use super::remote::RemoteSection;
use super::signatures::TrustSection;
use super::telemetry::TelemetryLimits;
use super::{ConfigError, Errors, file, is_a_name, within};

/// Settings in `[host]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostSection {
    /// Time limit for running calls after the host is asked to stop.
    pub grace: Duration,
    /// Directory of compiled plugins. If `None`, a directory in the user's cache directory is
    /// used.
    pub compile_cache: Option<PathBuf>,
    /// Number of unused compiled versions that are kept for each plugin.
    pub compile_cache_previous: usize,
    /// Directory of persisted data. If `None`, the directory that systemd provides is used, or
    /// else one in the user's data directory.
    pub data: Option<PathBuf>,
    /// Limits on the rate of commits to the data directory.
    pub commits: CommitLimits,
    /// Limits of the telemetry queue.
    pub telemetry: TelemetryLimits,
    /// Command that reboots the machine when a plugin with the capability `power` requests it.
    pub reboot: RebootCommand,
    /// Limits on reboots.
    pub reboot_limits: RebootLimits,
    /// Reported property that lists the plugins; `None` if they are not reported.
    pub report_plugins_under: Option<String>,
    /// Memory limit for all calls together, in bytes. If `None`, a quarter of the memory
    /// available to the host is used.
    pub memory_bytes: Option<usize>,
    /// Socket for operators; `None` for a default path.
    pub control_socket: Option<PathBuf>,
    /// Listener for programs that collect metrics.
    pub metrics: MetricsSection,
    /// Push of metrics and traces by OTLP.
    pub otlp: OtlpSection,
    /// Direct methods that the host answers itself.
    pub remote: RemoteSection,
    /// Fetching of plugins that are named by an image.
    pub registry: RegistrySection,
    /// Keys whose signatures are accepted.
    pub trust: TrustSection,
}

pub(super) fn host(
    section: file::Host,
    directory: &Path,
    errors: &mut Errors,
) -> Option<HostSection> {
    let second = Duration::from_secs(1);
    let limits = RebootLimits::default();
    let commits = CommitLimits::default();
    let grace = within("host.grace", section.grace, 10 * second, Duration::ZERO, 3600 * second);
    let grace = errors.ok(grace);
    let command = errors.ok(reboot_command(section.reboot_command));
    let min_uptime = errors.ok(within(
        "host.reboot_min_uptime",
        section.reboot_min_uptime,
        limits.min_uptime,
        Duration::ZERO,
        24 * 3600 * second,
    ));
    let report_plugins_under = errors.ok(report_plugins_under(section.report_plugins_under));
    let metrics = errors.ok(metrics::metrics(section.metrics.listen.as_deref()));
    let otlp = errors.ok(otlp::otlp(section.otlp, directory));
    let registry = errors.ok(registry::registry(section.registry, directory));
    Some(HostSection {
        grace: grace?,
        compile_cache: section.compile_cache.map(|path| directory.join(path)),
        compile_cache_previous: section.compile_cache_previous.unwrap_or(1),
        data: section.data.map(|path| directory.join(path)),
        commits: CommitLimits {
            per_minute: section.commits_per_minute.map_or(commits.per_minute, NonZeroU32::get),
            per_plugin: section
                .plugin_commits_per_minute
                .map_or(commits.per_plugin, NonZeroU32::get),
        },
        telemetry: telemetry(section.telemetry),
        reboot: RebootCommand { command: command?, dry_run: section.dry_run_reboot },
        reboot_limits: RebootLimits {
            per_hour: section.reboots_per_hour.map_or(limits.per_hour, |most| most.get().into()),
            min_uptime: min_uptime?,
        },
        report_plugins_under: report_plugins_under?,
        memory_bytes: section.memory_bytes.map(NonZeroUsize::get),
        control_socket: section.control_socket.map(|path| directory.join(path)),
        metrics: metrics?,
        otlp: otlp?,
        remote: RemoteSection { methods: section.remote.methods },
        registry: registry?,
        trust: trust(section.trust, directory),
    })
}

fn trust(section: file::TrustKeys, directory: &Path) -> TrustSection {
    TrustSection {
        keys: section.keys.iter().map(|path| directory.join(path)).collect(),
        signature: section.signature.unwrap_or_default(),
    }
}

fn telemetry(section: file::TelemetryKeys) -> TelemetryLimits {
    let default = TelemetryLimits::default();
    TelemetryLimits {
        messages: section.messages.map_or(default.messages, NonZeroUsize::get),
        bytes: section.bytes.map_or(default.bytes, NonZeroUsize::get),
        when_full: section.when_full.unwrap_or_default(),
    }
}

/// Returns the configured reboot command, or the default.
fn reboot_command(configured: Option<Vec<String>>) -> Result<Vec<String>, ConfigError> {
    let command = configured.unwrap_or_else(|| ["systemctl", "reboot"].map(str::to_owned).to_vec());
    match command.first() {
        Some(program) if !program.is_empty() => Ok(command),
        _ => Err(ConfigError::RebootCommand),
    }
}

/// Returns the reported property of the plugins. An empty string disables the report.
fn report_plugins_under(configured: Option<String>) -> Result<Option<String>, ConfigError> {
    let key = configured.unwrap_or_else(|| "plugins".to_owned());
    if key.is_empty() {
        return Ok(None);
    }
    if !is_a_name(&key) {
        return Err(ConfigError::PropertyName(readable(&key).into_owned()));
    }
    Ok(Some(key))
}
