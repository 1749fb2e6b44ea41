//! Settings of the push: `[host.otlp]`, and the environment variables of OpenTelemetry for what it
//! leaves open.
//!
//! As the specification demands, an invalid variable is ignored with a warning. Its value is not
//! logged, since a variable with header fields contains secrets.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use tracing::warn;

use crate::config::{Compression, OtlpEndpoint, OtlpSection};
use crate::secret_file::{self, SecretFileError};
use crate::trace::Sampler;

/// Variables that all signals share, and the paths below the common endpoint.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const METRICS_PATH: &str = "/v1/metrics";
const TRACES_PATH: &str = "/v1/traces";

/// Settings of the push.
#[derive(Debug)]
pub(crate) struct OtlpSettings {
    pub(super) exporter: ExporterSettings,
    /// Receiver of the metrics; `None` if they are not pushed.
    pub(super) metrics: Option<OtlpEndpoint>,
    /// Receiver of the traces; `None` if they are not pushed.
    pub(super) traces: Option<OtlpEndpoint>,
    pub(super) sampler: Sampler,
    /// Field of payloads with the trace context of the caller.
    pub(super) traceparent_key: Option<String>,
    /// Time between two exports of the metrics.
    pub(super) interval: Duration,
    /// Attributes of the sender.
    pub(super) resource: Vec<(String, String)>,
}

/// Settings of each request.
#[derive(Debug, Clone)]
pub(super) struct ExporterSettings {
    pub(super) headers: Headers,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) timeout: Duration,
    pub(super) compression: Compression,
}

/// Header fields of each request, which are secrets.
#[derive(Clone, Default)]
pub(super) struct Headers(pub(super) Vec<(HeaderName, HeaderValue)>);

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} header fields", self.0.len())
    }
}

/// Unusable file of header fields.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// File that cannot be read.
    #[error("`host.otlp.headers_file`: {}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// File that others can read or change.
    #[error("`host.otlp.headers_file`: {} has mode {mode:o}, so others can read or change it", .path.display())]
    Mode {
        /// Path of the file.
        path: PathBuf,
        /// Permission bits of the file.
        mode: u32,
    },
    /// Line that is no header field.
    #[error("`host.otlp.headers_file`: line {line} of {} is no header field", .path.display())]
    Line {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
}

impl OtlpError {
    /// Returns a hint on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            OtlpError::Read { .. } => "make the file readable for the host, or remove the key",
            OtlpError::Mode { .. } => "run `chmod 600` on the file",
            OtlpError::Line { .. } => "write one field per line, such as `api-key: SECRET`",
        }
    }
}

/// Returns the settings, or `None` if nothing is pushed. `variable` returns the value of an
/// environment variable. Blocks.
///
/// # Errors
///
/// Returns an error if the file of header fields is unusable.
pub(crate) fn settings(
    section: &OtlpSection,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<OtlpSettings>, OtlpError> {
    let variables = Variables(&|name| variable(name).filter(|value| !value.is_empty()));
    if variables.is("OTEL_SDK_DISABLED", "true") {
        return Ok(None);
    }
    let metrics = variables.endpoint(section, "METRICS", METRICS_PATH);
    let traces = variables.endpoint(section, "TRACES", TRACES_PATH);
    if metrics.is_none() && traces.is_none() {
        return Ok(None);
    }
    let headers = match &section.headers_file {
        Some(path) => headers_of_file(path.clone())?,
        None => variables.headers(),
    };
    let compression = section.compression.or_else(|| {
        variables.read("OTEL_EXPORTER_OTLP_COMPRESSION", |value| match value {
            "gzip" => Some(Compression::Gzip),
            "none" => Some(Compression::None),
            _ => None,
        })
    });
    let exporter = ExporterSettings {
        headers,
        ca_file: section.ca_file.clone().or_else(|| {
            variables.read("OTEL_EXPORTER_OTLP_CERTIFICATE", |value| Some(value.into()))
        }),
        timeout: section
            .timeout
            .or_else(|| variables.milliseconds("OTEL_EXPORTER_OTLP_TIMEOUT"))
            .unwrap_or(Duration::from_secs(10)),
        compression: compression.unwrap_or(Compression::None),
    };
    let interval = section
        .interval
        .or_else(|| variables.milliseconds("OTEL_METRIC_EXPORT_INTERVAL"))
        .unwrap_or(Duration::from_secs(60));
    let resource = variables.resource();
    let sampler = variables.sampler();
    let traceparent_key = section.traceparent_key.clone();
    let receivers = (metrics, traces);
    Ok(Some(OtlpSettings {
        exporter,
        metrics: receivers.0,
        traces: receivers.1,
        sampler,
        traceparent_key,
        interval,
        resource,
    }))
}

/// The environment variables of the process.
struct Variables<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Variables<'_> {
    fn is(&self, name: &str, expected: &str) -> bool {
        (self.0)(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(expected))
    }

    /// Reads a variable. Logs a warning if `parse` returns `None`.
    fn read<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        let parsed = parse((self.0)(name)?.trim());
        if parsed.is_none() {
            warn!(variable = name, "environment variable ignored: its value is invalid");
        }
        parsed
    }

    fn milliseconds(&self, name: &str) -> Option<Duration> {
        let parse = |value: &str| value.parse().ok().filter(|ms| *ms > 0);
        self.read(name, parse).map(Duration::from_millis)
    }

    /// Returns the endpoint of a signal, or `None` if it is not pushed.
    fn endpoint(&self, section: &OtlpSection, signal: &str, path: &str) -> Option<OtlpEndpoint> {
        if self.is(&format!("OTEL_{signal}_EXPORTER"), "none") {
            return None;
        }
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_ENDPOINT");
        let endpoint = match &section.endpoint {
            Some(base) => Some(base.below(path)),
            None => self
                .read(&own, OtlpEndpoint::parse)
                .or_else(|| Some(self.read(ENDPOINT, OtlpEndpoint::parse)?.below(path))),
        }?;
        let own = format!("OTEL_EXPORTER_OTLP_{signal}_PROTOCOL");
        let name = if (self.0)(&own).is_some() { &own } else { "OTEL_EXPORTER_OTLP_PROTOCOL" };
        let protocol = (self.0)(name).unwrap_or_else(|| "http/protobuf".to_owned());
        if protocol.trim() == "http/protobuf" {
            return Some(endpoint);
        }
        warn!(variable = name, "nothing pushed by OTLP: the host supports only http/protobuf");
        None
    }

    fn headers(&self) -> Headers {
        let parse = |value: &str| {
            let fields = pairs(value)?;
            let fields = fields.iter().map(|(name, value)| field(name, value));
            fields.collect::<Option<Vec<_>>>().map(Headers)
        };
        self.read("OTEL_EXPORTER_OTLP_HEADERS", parse).unwrap_or_default()
    }

    fn sampler(&self) -> Sampler {
        let sampler: Sampler =
            self.read("OTEL_TRACES_SAMPLER", |name| name.parse().ok()).unwrap_or_default();
        let is_ratio = self.is("OTEL_TRACES_SAMPLER", "traceidratio")
            || self.is("OTEL_TRACES_SAMPLER", "parentbased_traceidratio");
        let ratio = || {
            self.read("OTEL_TRACES_SAMPLER_ARG", |text| {
                text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
            })
        };
        match is_ratio.then(ratio).flatten() {
            Some(ratio) => sampler.with_ratio(ratio),
            None => sampler,
        }
    }

    /// Returns the attributes of the sender.
    fn resource(&self) -> Vec<(String, String)> {
        let mut attributes = self.read("OTEL_RESOURCE_ATTRIBUTES", pairs).unwrap_or_default();
        if let Some(name) = (self.0)("OTEL_SERVICE_NAME") {
            attributes.retain(|(key, _)| key != "service.name");
            attributes.push(("service.name".to_owned(), name));
        }
        attributes
    }
}

/// Parses `key1=value1,key2=value2`, whose values are percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let pair = |entry: &str| {
        let (key, value) = entry.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        Some((key.trim().to_owned(), value.into_owned())).filter(|(key, _)| !key.is_empty())
    };
    entries.map(pair).collect()
}

fn field(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name.trim().parse().ok()?, value))
}

/// Reads the header fields of a file. Empty lines and lines that begin with `#` are ignored.
fn headers_of_file(path: PathBuf) -> Result<Headers, OtlpError> {
    let content = match secret_file::read(&path) {
        Ok(content) => content,
        Err(SecretFileError::Read(source)) => return Err(OtlpError::Read { path, source }),
        Err(SecretFileError::Mode(mode)) => return Err(OtlpError::Mode { path, mode }),
    };
    let text = String::from_utf8_lossy(&content);
    let mut fields = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let parsed = line.split_once(':').and_then(|(name, value)| field(name, value));
        let Some(parsed) = parsed else {
            return Err(OtlpError::Line { path, line: index + 1 });
        };
        fields.push(parsed);
    }
    Ok(Headers(fields))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn of(section: &OtlpSection, variables: &[(&str, &str)]) -> Option<OtlpSettings> {
        let variable = |name: &str| {
            variables.iter().find(|it| it.0 == name).map(|(_, value)| (*value).to_owned())
        };
        settings(section, variable).unwrap()
    }

    fn endpoint(settings: Option<OtlpSettings>) -> Option<String> {
        Some(settings?.metrics?.uri().to_string())
    }

    #[test]
    fn nothing_is_pushed_without_an_endpoint_or_if_a_variable_says_so() {
        let none = OtlpSection::default();
        assert!(of(&none, &[]).is_none());
        let base = (ENDPOINT, "http://c:4318");
        assert_eq!(endpoint(of(&none, &[base])).unwrap(), "http://c:4318/v1/metrics");
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")] {
            assert!(of(&none, &[base, off]).is_none(), "{off:?}");
        }
        let without_metrics = of(&none, &[base, ("OTEL_METRICS_EXPORTER", "none")]).unwrap();
        assert_eq!(without_metrics.metrics, None);
        let traces = without_metrics.traces.unwrap();
        assert_eq!(traces.uri().to_string(), "http://c:4318/v1/traces");
    }

    #[test]
    fn the_file_takes_precedence_and_the_endpoint_of_a_signal_is_complete() {
        let own = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m.example/in");
        let base = (ENDPOINT, "http://c:4318");
        let mut section = OtlpSection::default();
        assert_eq!(endpoint(of(&section, &[own, base])).unwrap(), "https://m.example/in");
        section.endpoint = OtlpEndpoint::parse("http://file:1");
        assert_eq!(endpoint(of(&section, &[own, base])).unwrap(), "http://file:1/v1/metrics");
    }

    #[test]
    fn the_variables_of_the_specification_apply_and_invalid_ones_do_not() {
        let variables = [
            (ENDPOINT, "http://c:4318"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x = 1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "soon"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,site=Bern"),
            ("OTEL_SERVICE_NAME", "press"),
        ];
        let found = of(&OtlpSection::default(), &variables).unwrap();
        assert_eq!(found.exporter.headers.0.len(), 2);
        assert_eq!(found.exporter.headers.0[0].1, "a b");
        assert_eq!(found.exporter.timeout, Duration::from_millis(1500));
        let ratio = "parentbased_traceidratio".parse::<Sampler>().unwrap().with_ratio(0.25);
        assert_eq!(found.sampler, ratio);
        assert_eq!(found.interval, Duration::from_secs(60));
        assert_eq!(found.exporter.compression, Compression::Gzip);
        let expected = [("site", "Bern"), ("service.name", "press")];
        assert_eq!(found.resource, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(!format!("{found:?}").contains("a b"), "the secret is not shown");
    }

    #[test]
    fn header_fields_are_read_from_a_file_that_others_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("headers");
        let section = OtlpSection {
            endpoint: OtlpEndpoint::parse("http://c:4318"),
            headers_file: Some(path.clone()),
            ..OtlpSection::default()
        };
        let write = |text: &str, mode| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            settings(&section, |_| None)
        };
        let found = write("# a comment\napi-key: secret:1\n", 0o600).unwrap().unwrap();
        assert_eq!(found.exporter.headers.0[0].1, "secret:1");
        let error = write("api-key: secret", 0o644).unwrap_err();
        assert!(error.to_string().ends_with("has mode 644, so others can read or change it"));
        let error = write("\nsecret", 0o600).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
    }
}
