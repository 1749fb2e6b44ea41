//! `[host.otlp]`: the push of metrics, traces and logs by OTLP/HTTP.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use plugin::readable;

use super::compression::Compression;
use super::period::Period;
use super::signal::OtlpSignal;
use super::{ConfigError, file, within};

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

/// URL of a receiver: with the scheme `http` or `https`, and without a password, which the log
/// would show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint(Uri);

impl OtlpEndpoint {
    /// Parses a URL. Returns `None` if it is not the URL of a receiver.
    pub(crate) fn parse(text: &str) -> Option<OtlpEndpoint> {
        let uri: Uri = text.parse().ok()?;
        let has_scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority()?;
        let is_plain = !authority.as_str().contains('@') && uri.query().is_none();
        (has_scheme && !authority.host().is_empty() && is_plain).then_some(OtlpEndpoint(uri))
    }

    /// Returns the endpoint below this one.
    pub(crate) fn below(&self, path: &str) -> OtlpEndpoint {
        let text = format!("{}{path}", self.0.to_string().trim_end_matches('/'));
        OtlpEndpoint(text.parse().expect("a path below a URL makes a URL"))
    }

    /// Returns the URL.
    pub(crate) fn uri(&self) -> &Uri {
        &self.0
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
    Ok(OtlpSection {
        signals,
        common: receiver(common, ["host.otlp.endpoint", "host.otlp.timeout"], directory)?,
        metrics: receiver(
            metrics,
            ["host.otlp.metrics.endpoint", "host.otlp.metrics.timeout"],
            directory,
        )?,
        traces: receiver(
            traces,
            ["host.otlp.traces.endpoint", "host.otlp.traces.timeout"],
            directory,
        )?,
        logs: receiver(logs, ["host.otlp.logs.endpoint", "host.otlp.logs.timeout"], directory)?,
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
    directory: &Path,
) -> Result<OtlpReceiver, ConfigError> {
    let endpoint = keys.endpoint.map(|text| {
        let endpoint = OtlpEndpoint::parse(&text);
        endpoint.ok_or_else(|| ConfigError::OtlpEndpoint {
            key: endpoint_key,
            url: readable(&text).into_owned(),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_without_a_password() {
        for text in ["http://localhost:4318", "https://otlp.example.com/base/", "http://[::1]:1"] {
            assert!(OtlpEndpoint::parse(text).is_some(), "{text}");
        }
        for text in ["localhost:4318", "ftp://a", "http://u:p@a", "http://", "", "https://a?key=b"]
        {
            assert_eq!(OtlpEndpoint::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_path_of_a_signal_is_appended_to_the_base() {
        let endpoint = OtlpEndpoint::parse("https://a.example/base/").unwrap();
        let metrics = endpoint.below("/v1/metrics");
        assert_eq!(metrics.uri().to_string(), "https://a.example/base/v1/metrics");
    }
}
