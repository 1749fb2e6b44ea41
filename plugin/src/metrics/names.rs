//! Rules for names and labels of metrics.

use super::{MetricKind, MetricLabel};
use json::excerpt;

/// Maximum length of a name of a metric or a label, in bytes.
const NAME_BYTES: usize = 64;

/// Maximum number of labels of a series, and maximum length of a value, in bytes.
const MAX_LABELS: usize = 8;
const VALUE_BYTES: usize = 128;

/// Suffixes that formats of metrics append to a name. With one of them, the samples of two metrics
/// could have the same name.
const SUFFIXES: [&str; 6] = ["_total", "_bucket", "_count", "_sum", "_created", "_info"];

/// Labels that the host or a format of metrics adds.
const RESERVED_LABELS: [&str; 3] = ["plugin", "le", "quantile"];

/// The reason why an update of a metric is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricError {
    /// Malformed name of a metric.
    #[error(
        "metric `{0}`: a name has 1 to {NAME_BYTES} letters, digits and `_`, and begins with a letter"
    )]
    Name(String),
    /// Name with a reserved ending.
    #[error("metric `{name}`: a name cannot end with `{suffix}`, which formats of metrics append")]
    Suffix {
        /// Name of the metric.
        name: String,
        /// Its ending.
        suffix: &'static str,
    },
    /// Malformed name of a label.
    #[error(
        "label `{label}` of metric `{metric}`: a name has 1 to {NAME_BYTES} letters, digits and `_`, and begins with a letter"
    )]
    Label {
        /// Name of the metric.
        metric: String,
        /// Name of the label.
        label: String,
    },
    /// Label with a reserved name.
    #[error("label `{label}` of metric `{metric}`: the name is reserved")]
    ReservedLabel {
        /// Name of the metric.
        metric: String,
        /// Name of the label.
        label: String,
    },
    /// Two labels with the same name.
    #[error("label `{label}` of metric `{metric}` occurs twice")]
    RepeatedLabel {
        /// Name of the metric.
        metric: String,
        /// Name of the label.
        label: String,
    },
    /// Too many labels.
    #[error("metric `{metric}` has {count} labels; {MAX_LABELS} are allowed")]
    TooManyLabels {
        /// Name of the metric.
        metric: String,
        /// Number of its labels.
        count: usize,
    },
    /// Value of a label that is too long.
    #[error(
        "label `{label}` of metric `{metric}` has a value of {bytes} bytes; {VALUE_BYTES} are allowed"
    )]
    LongValue {
        /// Name of the metric.
        metric: String,
        /// Name of the label.
        label: String,
        /// Length of the value, in bytes.
        bytes: usize,
    },
    /// Value that is infinite or not a number.
    #[error("metric `{name}`: the value is not a finite number")]
    NotFinite {
        /// Name of the metric.
        name: String,
    },
    /// Negative amount for a counter.
    #[error("metric `{name}`: the amount of a counter is negative")]
    Decrease {
        /// Name of the metric.
        name: String,
    },
    /// Invalid bounds of a histogram.
    #[error("metric `{name}`: the bounds are not 1 to {most} finite numbers in ascending order")]
    Bounds {
        /// Name of the metric.
        name: String,
        /// Maximum number of bounds.
        most: usize,
    },
    /// Use of a metric as one of another kind.
    #[error("metric `{name}` is a {}, and cannot be used as a {}", is.name(), used_as.name())]
    Kind {
        /// Name of the metric.
        name: String,
        /// Kind of the metric.
        is: MetricKind,
        /// Kind that the update needs.
        used_as: MetricKind,
    },
    /// Too many metrics.
    #[error("limit of {0} metrics of a plugin reached")]
    TooManyMetrics(usize),
    /// Too many series.
    #[error("limit of {0} series of a plugin reached (`metric_series`)")]
    TooManySeries(usize),
}

impl MetricError {
    /// Returns `true` if the update is valid, but exceeds a limit on the number of metrics or
    /// series.
    #[must_use]
    pub fn is_surplus(&self) -> bool {
        matches!(self, MetricError::TooManyMetrics(_) | MetricError::TooManySeries(_))
    }
}

/// Checks the name of a metric.
pub(super) fn check_name(name: &str) -> Result<(), MetricError> {
    if !is_name(name) {
        return Err(MetricError::Name(excerpt(name, NAME_BYTES).into_owned()));
    }
    match SUFFIXES.into_iter().find(|suffix| name.ends_with(suffix)) {
        Some(suffix) => Err(MetricError::Suffix { name: name.to_owned(), suffix }),
        None => Ok(()),
    }
}

/// Checks the labels of the metric `metric`, and sorts them by name.
pub(super) fn check_labels(metric: &str, labels: &mut [MetricLabel]) -> Result<(), MetricError> {
    let metric = || metric.to_owned();
    if labels.len() > MAX_LABELS {
        return Err(MetricError::TooManyLabels { metric: metric(), count: labels.len() });
    }
    for (label, value) in &*labels {
        if !is_name(label) {
            let label = excerpt(label, NAME_BYTES).into_owned();
            return Err(MetricError::Label { metric: metric(), label });
        }
        if RESERVED_LABELS.contains(&label.as_str()) {
            return Err(MetricError::ReservedLabel { metric: metric(), label: label.clone() });
        }
        if value.len() > VALUE_BYTES {
            let (label, bytes) = (label.clone(), value.len());
            return Err(MetricError::LongValue { metric: metric(), label, bytes });
        }
    }
    labels.sort_unstable();
    match labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => {
            Err(MetricError::RepeatedLabel { metric: metric(), label: pair[0].0.clone() })
        }
        None => Ok(()),
    }
}

fn is_name(name: &str) -> bool {
    let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=NAME_BYTES).contains(&name.len())
        && name.as_bytes()[0].is_ascii_alphabetic()
        && name.bytes().all(is_valid)
}
