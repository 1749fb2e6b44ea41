//! `[host.otlp]`: the push of metrics, traces and logs by OTLP/HTTP.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::compression::Compression;
use super::period::Period;
use super::signal::OtlpSignal;
use super::{ConfigError, file, within};
pub use endpoint::{OtlpEndpoint, OtlpUrlError};

mod endpoint;

/// Settings in `[host.otlp]`. The environment variables of OpenTelemetry apply to what is not
/// set here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtlpSection {
    /// The pushed signals; `None` for all of them.
    pub signals: Option<BTreeSet<OtlpSignal>>,
    /// Receiver of all signals. The path of each signal, such as `/v1/metrics`, is appended to its
    /// endpoint.
    pub common: OtlpReceiver,
    /// Receiver of the metrics, where it differs from the common one.
    pub metrics: OtlpReceiver,
    /// Receiver of the traces, where it differs from the common one.
    pub traces: OtlpReceiver,
    /// Receiver of the logs, where it differs from the common one.
    pub logs: OtlpReceiver,
    /// Field of payloads with the trace context of the caller; `None` if none is read.
    pub traceparent_key: Option<String>,
    /// Time between two exports of the metrics.
    pub interval: Option<Duration>,
}

/// Receiver of a signal, or of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtlpReceiver {
    /// URL of the receiver.
    pub endpoint: Option<OtlpEndpoint>,
    /// File with one header field per line, such as `api-key: SECRET`.
    pub headers_file: Option<PathBuf>,
    /// PEM file of certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Time limit of one request.
    pub timeout: Option<Duration>,
    /// Compression of the requests.
    pub compression: Option<Compression>,
}

impl OtlpSection {
    /// Returns `true` if a signal is pushed to its endpoint, if it has one.
    pub(crate) fn pushes(&self, signal: OtlpSignal) -> bool {
        self.signals.as_ref().is_none_or(|signals| signals.contains(&signal))
    }

    /// Returns the receiver of a signal, where it differs from the common one.
    pub(crate) fn receiver(&self, signal: OtlpSignal) -> &OtlpReceiver {
        match signal {
            OtlpSignal::Metrics => &self.metrics,
            OtlpSignal::Traces => &self.traces,
            OtlpSignal::Logs => &self.logs,
        }
    }
}

pub(super) fn otlp(section: file::OtlpKeys, directory: &Path) -> Result<OtlpSection, ConfigError> {
    let file::OtlpKeys { signals, metrics, traces, logs, traceparent_key, interval, .. } = section;
    let common = file::OtlpReceiverKeys {
        endpoint: section.endpoint,
        headers_file: section.headers_file,
        ca_file: section.ca_file,
        timeout: section.timeout,
        compression: section.compression,
    };
    let of_signal = |keys, names| receiver(keys, names, OtlpEndpoint::parse, directory);
    Ok(OtlpSection {
        signals,
        common: receiver(
            common,
            ["host.otlp.endpoint", "host.otlp.timeout"],
            OtlpEndpoint::parse_base,
            directory,
        )?,
        metrics: of_signal(metrics, ["host.otlp.metrics.endpoint", "host.otlp.metrics.timeout"])?,
        traces: of_signal(traces, ["host.otlp.traces.endpoint", "host.otlp.traces.timeout"])?,
        logs: of_signal(logs, ["host.otlp.logs.endpoint", "host.otlp.logs.timeout"])?,
        traceparent_key,
        interval: optional("host.otlp.interval", interval, 24 * 3600 * SECOND)?,
    })
}

const SECOND: Duration = Duration::from_secs(1);

/// Parses a receiver. The first name is that of the endpoint's key, the second that of the time
/// limit's.
fn receiver(
    keys: file::OtlpReceiverKeys,
    [endpoint_key, timeout_key]: [&'static str; 2],
    parse: fn(&str) -> Result<OtlpEndpoint, OtlpUrlError>,
    directory: &Path,
) -> Result<OtlpReceiver, ConfigError> {
    let endpoint = keys.endpoint.map(|text| {
        parse(&text).map_err(|source| ConfigError::OtlpEndpoint { key: endpoint_key, source })
    });
    Ok(OtlpReceiver {
        endpoint: endpoint.transpose()?,
        headers_file: keys.headers_file.map(|path| directory.join(path)),
        ca_file: keys.ca_file.map(|path| directory.join(path)),
        timeout: optional(timeout_key, keys.timeout, 300 * SECOND)?,
        compression: keys.compression,
    })
}

fn optional(
    key: &'static str,
    period: Option<Period>,
    max: Duration,
) -> Result<Option<Duration>, ConfigError> {
    let Some(period) = period else { return Ok(None) };
    within(key, Some(period), SECOND, SECOND, max).map(Some)
}
