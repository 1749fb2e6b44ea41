//! Settings of the push: `[host.otlp]`, and the environment variables of OpenTelemetry for what it
//! leaves open.
//!
//! For each signal and each setting, the table of the signal comes first, then the common table,
//! then the variable of the signal, and last the common variable.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Compression, OtlpEndpoint, OtlpSection, OtlpSignal};
use crate::trace::Sampler;
pub use error::OtlpError;
pub use headers::FieldProblem;
pub(super) use headers::Headers;
use trust::Trust;
use variables::Variables;

mod error;
mod headers;
mod variables;

/// Settings of the push.
#[derive(Debug)]
pub(crate) struct OtlpSettings {
    /// Receiver of the metrics; `None` if they are not pushed.
    pub(super) metrics: Option<ExporterSettings>,
    /// Receiver of the traces; `None` if they are not pushed.
    pub(super) traces: Option<ExporterSettings>,
    /// Receiver of the logs; `None` if they are not pushed.
    pub(super) logs: Option<ExporterSettings>,
    pub(super) sampler: Sampler,
    /// Field of payloads with the trace context of the caller.
    pub(super) traceparent_key: Option<String>,
    /// Time between two exports of the metrics.
    pub(super) interval: Duration,
    /// Attributes of the sender.
    pub(super) resource: Vec<(String, String)>,
}

/// Receiver of a signal, and the settings of each request to it.
#[derive(Debug, Clone)]
pub(super) struct ExporterSettings {
    pub(super) endpoint: OtlpEndpoint,
    pub(super) headers: Headers,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) timeout: Duration,
    pub(super) compression: Compression,
}

/// Returns the settings, or `None` if nothing is pushed. `variable` returns the value of an
/// environment variable. Blocks.
///
/// # Errors
///
/// Returns an error if a file of header fields or certificates in `section` is unusable.
pub(crate) fn settings(
    section: &OtlpSection,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<OtlpSettings>, OtlpError> {
    let variables = Variables::new(&variable);
    if variables.is("OTEL_SDK_DISABLED", "true") {
        return Ok(None);
    }
    let mut errors = Vec::new();
    let mut exporter = |signal| exporter(section, &variables, signal, &mut errors);
    let metrics = exporter(OtlpSignal::Metrics);
    let traces = exporter(OtlpSignal::Traces);
    let logs = exporter(OtlpSignal::Logs);
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    if metrics.is_none() && traces.is_none() && logs.is_none() {
        return Ok(None);
    }
    let interval = section
        .interval
        .or_else(|| variables.milliseconds("OTEL_METRIC_EXPORT_INTERVAL"))
        .unwrap_or(Duration::from_secs(60));
    Ok(Some(OtlpSettings {
        metrics,
        traces,
        logs,
        sampler: variables.sampler(),
        traceparent_key: section.traceparent_key.clone(),
        interval,
        resource: variables.resource(),
    }))
}

/// Returns all errors for which [`settings`] returns one of them. Blocks.
pub(crate) fn check(
    section: &OtlpSection,
    variable: impl Fn(&str) -> Option<String>,
) -> Vec<OtlpError> {
    let variables = Variables::new(&variable);
    if variables.is("OTEL_SDK_DISABLED", "true") {
        return Vec::new();
    }
    let signals = [OtlpSignal::Metrics, OtlpSignal::Traces, OtlpSignal::Logs];
    let mut errors = Vec::new();
    for signal in signals {
        exporter(section, &variables, signal, &mut errors);
    }
    // Several signals may have one file.
    let mut known = BTreeSet::new();
    errors.retain(|error| known.insert(error.to_string()));
    errors
}

/// Returns the settings of a signal, or `None` if it is not pushed. Adds the errors of its files.
fn exporter(
    section: &OtlpSection,
    variables: &Variables<'_>,
    signal: OtlpSignal,
    errors: &mut Vec<OtlpError>,
) -> Option<ExporterSettings> {
    let (own, common) = (section.receiver(signal), &section.common);
    let path = format!("/v1/{}", signal.name());
    let of_file = || {
        let base = || Some(common.endpoint.as_ref()?.below(&path));
        own.endpoint.clone().or_else(base)
    };
    if !section.pushes(signal) {
        return None;
    }
    let endpoint = of_file().or_else(|| variables.endpoint(signal, &path))?;
    if !variables.push(signal) {
        return None;
    }
    variables.refuse_client_certificate(signal);
    let named = |own: Option<&PathBuf>, common: Option<&PathBuf>, name| match (own, common) {
        (Some(path), _) => Some((key(Some(signal), name), path.clone())),
        (None, Some(path)) => Some((key(None, name), path.clone())),
        (None, None) => None,
    };
    let file = named(own.headers_file.as_ref(), common.headers_file.as_ref(), "headers_file");
    let headers = match file.map(|(key, path)| Headers::of_file(key, path)) {
        Some(Ok(headers)) => headers,
        Some(Err(error)) => {
            errors.push(error);
            Headers::default()
        }
        None => variables.headers(signal).unwrap_or_default(),
    };
    let file = named(own.ca_file.as_ref(), common.ca_file.as_ref(), "ca_file");
    let ca_file = file.map(|(key, path)| {
        let trusted = Trust::empty().add_file(&path);
        errors.extend(trusted.err().map(|source| OtlpError::Trust { key, source }));
        path
    });
    let timeout = own.timeout.or(common.timeout).or_else(|| variables.timeout(signal));
    let compression = own.compression.or(common.compression);
    let compression = compression.or_else(|| variables.compression(signal));
    Some(ExporterSettings {
        endpoint,
        headers,
        ca_file: ca_file.or_else(|| variables.ca_file(signal)),
        timeout: timeout.unwrap_or(Duration::from_secs(10)),
        compression: compression.unwrap_or(Compression::None),
    })
}

/// Returns the key of `host.toml` for a receiver's setting. `None` stands for all signals.
fn key(signal: Option<OtlpSignal>, name: &str) -> String {
    match signal {
        Some(signal) => format!("host.otlp.{}.{name}", signal.name()),
        None => format!("host.otlp.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");

    fn of(section: &OtlpSection, variables: &[(&str, &str)]) -> Option<OtlpSettings> {
        let variable = |name: &str| {
            variables.iter().find(|it| it.0 == name).map(|(_, value)| (*value).to_owned())
        };
        settings(section, variable).unwrap()
    }

    fn url(of: &Option<ExporterSettings>) -> Option<String> {
        Some(of.as_ref()?.endpoint.uri().to_string())
    }

    #[test]
    fn nothing_is_pushed_without_an_endpoint_or_if_a_variable_says_so() {
        let none = OtlpSection::default();
        assert!(of(&none, &[]).is_none());
        assert!(of(&none, &[(ENDPOINT.0, "")]).is_none(), "an empty variable counts as missing");
        let all = of(&none, &[ENDPOINT]).unwrap();
        let urls = [&all.metrics, &all.traces, &all.logs].map(|it| url(it).unwrap());
        let expected = ["metrics", "traces", "logs"].map(|it| format!("http://c:4318/v1/{it}"));
        assert_eq!(urls, expected);
        for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")] {
            assert!(of(&none, &[ENDPOINT, off]).is_none(), "{off:?}");
        }
        for invalid in ["http://127.0.0.1:99999", "http://c:4318/v1/metrics", "http://u:p@c"] {
            assert!(of(&none, &[(ENDPOINT.0, invalid)]).is_none(), "{invalid}");
        }
        for off in [("OTEL_LOGS_EXPORTER", "none"), ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc")] {
            let others = of(&none, &[ENDPOINT, off]).unwrap();
            assert!(others.logs.is_none() && others.metrics.is_some(), "{off:?}");
        }
    }

    #[test]
    fn the_file_takes_precedence_and_the_endpoint_of_a_signal_is_complete() {
        let own = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://l.example/in");
        let mut section = OtlpSection::default();
        let of_variables = of(&section, &[own, ENDPOINT]).unwrap();
        assert_eq!(url(&of_variables.logs).unwrap(), "https://l.example/in");
        assert_eq!(url(&of_variables.traces).unwrap(), "http://c:4318/v1/traces");
        section.common.endpoint = OtlpEndpoint::parse("http://file:1").ok();
        let of_file = of(&section, &[own, ENDPOINT]).unwrap();
        assert_eq!(url(&of_file.logs).unwrap(), "http://file:1/v1/logs");
        section.logs.endpoint = OtlpEndpoint::parse("http://logs:1/in").ok();
        section.signals = Some(BTreeSet::from([OtlpSignal::Logs, OtlpSignal::Traces]));
        let of_table = of(&section, &[own, ENDPOINT]).unwrap();
        assert_eq!(url(&of_table.logs).unwrap(), "http://logs:1/in");
        assert_eq!(url(&of_table.traces).unwrap(), "http://file:1/v1/traces");
        assert!(of_table.metrics.is_none());
    }

    #[test]
    fn the_variables_of_the_specification_apply_and_invalid_ones_do_not() {
        let variables = [
            ENDPOINT,
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
        let metrics = found.metrics.as_ref().unwrap();
        assert_eq!(metrics.headers.0.len(), 2);
        assert_eq!(metrics.headers.0[0].1, "a b");
        assert_eq!(metrics.timeout, Duration::from_millis(1500));
        let ratio = "parentbased_traceidratio".parse::<Sampler>().unwrap().with_ratio(0.25);
        assert_eq!(found.sampler, ratio);
        assert_eq!(found.interval, Duration::from_secs(60));
        assert_eq!(metrics.compression, Compression::Gzip);
        let expected = [("site", "Bern"), ("service.name", "press")];
        assert_eq!(found.resource, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(!format!("{found:?}").contains("a b"), "the secret is not shown");
    }

    #[test]
    fn each_signal_has_variables_of_its_own() {
        for (signal, of_signal) in [
            ("METRICS", (|it: OtlpSettings| it.metrics) as fn(_) -> _),
            ("TRACES", |it| it.traces),
            ("LOGS", |it| it.logs),
        ] {
            let own = |name: &str| format!("OTEL_EXPORTER_OTLP_{signal}_{name}");
            let [headers, timeout, compression, certificate] =
                ["HEADERS", "TIMEOUT", "COMPRESSION", "CERTIFICATE"].map(own);
            let common = [
                ENDPOINT,
                ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=common"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500"),
                ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/common.pem"),
            ];
            let own = [
                (&*headers, "api-key=own"),
                (&timeout, "2500"),
                (&compression, "none"),
                (&certificate, "/own.pem"),
            ];
            let section = OtlpSection::default();
            let found = of_signal(of(&section, &[&common[..], &own].concat()).unwrap()).unwrap();
            assert_eq!(found.headers.0.len(), 1);
            assert_eq!(found.headers.0[0].1, "own");
            assert_eq!(found.timeout, Duration::from_millis(2500));
            assert_eq!(found.compression, Compression::None);
            assert_eq!(found.ca_file.unwrap().to_str(), Some("/own.pem"));

            let invalid =
                [(&*headers, "content-length=5"), (&timeout, "0"), (&compression, "zstd")];
            let found =
                of_signal(of(&section, &[&common[..], &invalid].concat()).unwrap()).unwrap();
            assert_eq!(found.headers.0[0].1, "common");
            assert_eq!(found.timeout, Duration::from_millis(1500));
            assert_eq!(found.compression, Compression::Gzip);
        }
    }

    #[test]
    fn a_signal_has_header_fields_of_its_own_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs::write(&path, format!("api-key: {name}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            Some(path)
        };
        let mut section = OtlpSection::default();
        section.common.endpoint = OtlpEndpoint::parse("http://c:4318").ok();
        section.common.headers_file = write("common");
        section.logs.headers_file = write("own");
        let found = of(&section, &[]).unwrap();
        let value = |of: Option<ExporterSettings>| of.unwrap().headers.0[0].1.clone();
        assert_eq!(
            (value(found.traces), value(found.logs)),
            ("common".parse().unwrap(), "own".parse().unwrap())
        );
        section.logs.headers_file = Some(folder.path().join("none"));
        let error = settings(&section, |_| None).unwrap_err().to_string();
        assert!(error.starts_with("`host.otlp.logs.headers_file`: "), "{error}");
        assert_eq!(check(&section, |_| None).len(), 1);
        section.common.headers_file = Some(folder.path().join("none"));
        assert_eq!(check(&section, |_| None).len(), 2, "one for each file");
        section.logs.ca_file = write("no certificate");
        let errors = check(&section, |_| None);
        let messages: Vec<_> =
            errors.iter().map(|error| program::chain(error).to_string()).collect();
        assert_eq!(messages.len(), 3, "{messages:?}");
        let start = "`host.otlp.logs.ca_file`: CA file ";
        let is_of_file = |text: &String| {
            text.starts_with(start) && text.ends_with("no certificate: no certificate found")
        };
        assert!(messages.iter().any(is_of_file), "{messages:?}");
        section.common.endpoint = None;
        assert_eq!(check(&section, |_| None).len(), 0, "nothing is pushed, so no file is read");
    }
}
