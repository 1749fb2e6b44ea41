//! The signals of OpenTelemetry: metrics, traces and logs.

use serde::Deserialize;

/// A kind of data that is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OtlpSignal {
    /// Numbers, at an interval.
    Metrics,
    /// Spans of calls.
    Traces,
    /// Lines of the log.
    Logs,
}

impl OtlpSignal {
    /// Returns the name of the signal in `host.toml` and in paths.
    pub(crate) fn name(self) -> &'static str {
        match self {
            OtlpSignal::Metrics => "metrics",
            OtlpSignal::Traces => "traces",
            OtlpSignal::Logs => "logs",
        }
    }
}
