//! The environment variables of OpenTelemetry.
//!
//! As the specification demands, an invalid variable is ignored with a warning, and an empty one
//! counts as missing. Values are not logged, since a variable with header fields contains
//! secrets.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tracing::warn;

use super::headers::{FieldProblem, Headers};
use crate::config::{Compression, OtlpEndpoint, OtlpSignal, OtlpUrlError};
use crate::trace::Sampler;

/// The environment variables of the process.
pub(super) struct Variables<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    /// Variables with an invalid value, each of which is logged once.
    invalid: RefCell<BTreeSet<String>>,
}

/// Variables of the exporters, each with one for all signals and one for each signal, such as
/// `OTEL_EXPORTER_OTLP_LOGS_TIMEOUT`.
const PREFIX: &str = "OTEL_EXPORTER_OTLP";

impl<'a> Variables<'a> {
    pub(super) fn new(variable: &'a dyn Fn(&str) -> Option<String>) -> Variables<'a> {
        Variables { variable, invalid: RefCell::default() }
    }

    pub(super) fn is(&self, name: &str, expected: &str) -> bool {
        self.text(name).is_some_and(|value| value.trim().eq_ignore_ascii_case(expected))
    }

    fn text(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Reads a variable. Logs a warning if `parse` returns `None`.
    fn read<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.read_or(name, |value| parse(value).ok_or("is invalid"))
    }

    /// Reads a variable. Logs a warning if `parse` returns the problem of its value, which is a
    /// predicate.
    fn read_or<T, P: Display>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, P>,
    ) -> Option<T> {
        let problem = match parse(self.text(name)?.trim()) {
            Ok(parsed) => return Some(parsed),
            Err(problem) => problem,
        };
        if self.invalid.borrow_mut().insert(name.to_owned()) {
            warn!(variable = name, "environment variable ignored: its value {problem}");
        }
        None
    }

    /// Reads the variable of a signal, or else the one of all signals.
    fn of_signal<T>(
        &self,
        signal: OtlpSignal,
        name: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        self.of_signal_or(signal, name, |value| parse(value).ok_or("is invalid"))
    }

    /// Reads the variable of a signal, or else the one of all signals. `parse` may return the
    /// problem of a value.
    fn of_signal_or<T, P: Display>(
        &self,
        signal: OtlpSignal,
        name: &str,
        parse: impl Fn(&str) -> Result<T, P>,
    ) -> Option<T> {
        let own = format!("{PREFIX}_{}_{name}", signal.name().to_ascii_uppercase());
        self.read_or(&own, &parse).or_else(|| self.read_or(&format!("{PREFIX}_{name}"), &parse))
    }

    pub(super) fn milliseconds(&self, name: &str) -> Option<Duration> {
        self.read(name, milliseconds)
    }

    /// Returns `false` if a variable turns the signal off, or demands an unsupported protocol.
    pub(super) fn push(&self, signal: OtlpSignal) -> bool {
        let upper = signal.name().to_ascii_uppercase();
        if self.is(&format!("OTEL_{upper}_EXPORTER"), "none") {
            return false;
        }
        let own = format!("{PREFIX}_{upper}_PROTOCOL");
        let common = format!("{PREFIX}_PROTOCOL");
        let variable = if self.text(&own).is_some() { own } else { common };
        let protocol = self.text(&variable).unwrap_or_else(|| "http/protobuf".to_owned());
        if protocol.trim() == "http/protobuf" {
            return true;
        }
        let data = signal.name();
        warn!(variable, data, "not pushed by OTLP: the host supports only http/protobuf");
        false
    }

    /// Returns the endpoint of a signal, whose own variable has a complete URL.
    pub(super) fn endpoint(&self, signal: OtlpSignal, path: &str) -> Option<OtlpEndpoint> {
        let own = format!("{PREFIX}_{}_ENDPOINT", signal.name().to_ascii_uppercase());
        type Parse = fn(&str) -> Result<OtlpEndpoint, OtlpUrlError>;
        let read = |name: &str, parse: Parse| {
            self.read_or(name, |text| parse(text).map_err(|error| error.problem))
        };
        let common = || read(&format!("{PREFIX}_ENDPOINT"), OtlpEndpoint::parse_base);
        read(&own, OtlpEndpoint::parse).or_else(|| Some(common()?.below(path)))
    }

    pub(super) fn headers(&self, signal: OtlpSignal) -> Option<Headers> {
        self.of_signal_or(signal, "HEADERS", |value| {
            Headers::of_pairs(&pairs(value).ok_or(FieldProblem::Malformed)?)
        })
    }

    pub(super) fn ca_file(&self, signal: OtlpSignal) -> Option<PathBuf> {
        self.of_signal(signal, "CERTIFICATE", |value| Some(value.into()))
    }

    /// Logs a warning if a variable demands a certificate of the client, which the host does not
    /// present.
    pub(super) fn refuse_client_certificate(&self, signal: OtlpSignal) {
        let upper = signal.name().to_ascii_uppercase();
        for prefix in [PREFIX.to_owned(), format!("{PREFIX}_{upper}")] {
            let variable = format!("{prefix}_CLIENT_CERTIFICATE");
            if self.text(&variable).is_some() && self.invalid.borrow_mut().insert(variable.clone())
            {
                warn!(
                    variable,
                    "environment variable ignored: the host presents no certificate to receivers of \
                     OTLP; a collector on this machine can"
                );
            }
        }
    }

    pub(super) fn timeout(&self, signal: OtlpSignal) -> Option<Duration> {
        self.of_signal(signal, "TIMEOUT", milliseconds)
    }

    pub(super) fn compression(&self, signal: OtlpSignal) -> Option<Compression> {
        self.of_signal(signal, "COMPRESSION", |value| match value {
            "gzip" => Some(Compression::Gzip),
            "none" => Some(Compression::None),
            _ => None,
        })
    }

    pub(super) fn sampler(&self) -> Sampler {
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
    pub(super) fn resource(&self) -> Vec<(String, String)> {
        let mut attributes = self.read("OTEL_RESOURCE_ATTRIBUTES", pairs).unwrap_or_default();
        if let Some(name) = self.text("OTEL_SERVICE_NAME") {
            attributes.retain(|(key, _)| key != "service.name");
            attributes.push(("service.name".to_owned(), name));
        }
        attributes
    }
}

fn milliseconds(text: &str) -> Option<Duration> {
    text.parse().ok().filter(|ms| *ms > 0).map(Duration::from_millis)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_variable_with_a_certificate_of_the_client_is_reported_once() {
        let variable =
            |name: &str| name.ends_with("_CLIENT_CERTIFICATE").then(|| "/client.pem".to_owned());
        let variables = Variables::new(&variable);
        for signal in [OtlpSignal::Logs, OtlpSignal::Traces, OtlpSignal::Logs] {
            variables.refuse_client_certificate(signal);
        }
        let names = ["", "_LOGS", "_TRACES"].map(|it| format!("{PREFIX}{it}_CLIENT_CERTIFICATE"));
        assert_eq!(variables.invalid.into_inner(), BTreeSet::from(names));
    }
}
