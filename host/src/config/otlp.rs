//! `[host.otlp]`: the push of metrics and traces by OTLP/HTTP.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use plugin::readable;

use super::compression::Compression;
use super::period::Period;
use super::{ConfigError, file, within};

/// Settings in `[host.otlp]`. The environment variables of OpenTelemetry apply to what is not
/// set here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OtlpSection {
    /// Base of the endpoints, to which `/v1/metrics` and so on are appended.
    pub endpoint: Option<OtlpEndpoint>,
    /// File with one header field per line, such as `api-key: SECRET`.
    pub headers_file: Option<PathBuf>,
    /// PEM file of certificates that are trusted in addition to the system's.
    pub ca_file: Option<PathBuf>,
    /// Field of payloads with the trace context of the caller; `None` if none is read.
    pub traceparent_key: Option<String>,
    /// Time between two exports of the metrics.
    pub interval: Option<Duration>,
    /// Time limit of one request.
    pub timeout: Option<Duration>,
    /// Compression of the requests.
    pub compression: Option<Compression>,
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
    let second = Duration::from_secs(1);
    let endpoint = section.endpoint.map(|text| {
        let endpoint = OtlpEndpoint::parse(&text);
        endpoint.ok_or_else(|| ConfigError::OtlpEndpoint(readable(&text).into_owned()))
    });
    let optional = |key, period: Option<Period>, max| {
        let Some(period) = period else { return Ok(None) };
        within(key, Some(period), second, second, max).map(Some)
    };
    Ok(OtlpSection {
        endpoint: endpoint.transpose()?,
        headers_file: section.headers_file.map(|path| directory.join(path)),
        ca_file: section.ca_file.map(|path| directory.join(path)),
        traceparent_key: section.traceparent_key,
        interval: optional("host.otlp.interval", section.interval, 24 * 3600 * second)?,
        timeout: optional("host.otlp.timeout", section.timeout, 300 * second)?,
        compression: section.compression,
    })
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
