//! Families of metrics, each with the series of all of its label sets.
//!
//! A family exists only while it is written, as text or as a message of OTLP.

use std::fmt;
use std::time::Instant;

use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::PREFIX;
use crate::plugins::slot::{BOUNDS, MeterView};

/// A label and its value.
pub(crate) type Label<'a> = (&'a str, &'a str);

/// A family of metrics.
#[derive(Debug)]
pub(crate) struct Family<'a> {
    /// Start of the name, for the host's own families and for those of plugins.
    pub(crate) prefix: &'static str,
    /// Name without the prefix and without the unit.
    pub(crate) name: &'a str,
    pub(crate) help: &'a str,
    pub(crate) unit: Option<&'a Unit>,
    pub(crate) samples: Samples<'a>,
}

/// The series of a family.
#[derive(Debug)]
pub(crate) enum Samples<'a> {
    Counters(Vec<Series<'a, Count>>),
    Gauges(Vec<Series<'a, f64>>),
    Histograms(Vec<Series<'a, Distribution>>),
}

/// A series of a family.
#[derive(Debug)]
pub(crate) struct Series<'a, V> {
    pub(crate) labels: Vec<Label<'a>>,
    pub(crate) value: V,
    /// Time since when the value is counted; `None` for the start of the host.
    pub(crate) since: Option<Instant>,
}

/// The value of a counter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Whole(u64),
    Real(f64),
}

/// The value of a histogram.
#[derive(Debug)]
pub(crate) struct Distribution {
    /// The upper bounds of the buckets. The last bucket has none.
    pub(crate) bounds: Vec<f64>,
    /// The number of values in each bucket.
    pub(crate) buckets: Vec<u64>,
    pub(crate) sum: f64,
}

impl From<u64> for Count {
    fn from(value: u64) -> Count {
        Count::Whole(value)
    }
}

impl From<f64> for Count {
    fn from(value: f64) -> Count {
        Count::Real(value)
    }
}

impl From<&MeterView> for Distribution {
    fn from(view: &MeterView) -> Distribution {
        Distribution {
            bounds: BOUNDS.iter().map(|micros| *micros as f64 / 1e6).collect(),
            buckets: view.durations.to_vec(),
            sum: view.total.as_secs_f64(),
        }
    }
}

impl Family<'_> {
    /// Returns the unit in the notation of UCUM, from which receivers of OTLP make the same suffix
    /// as that in the text.
    pub(crate) fn ucum(&self) -> &str {
        match self.unit {
            Some(Unit::Seconds) => "s",
            Some(Unit::Bytes) => "By",
            Some(other) => other.as_str(),
            None => "",
        }
    }

    /// Writes the family as text.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let kind = match &self.samples {
            Samples::Counters(_) => MetricType::Counter,
            Samples::Gauges(_) => MetricType::Gauge,
            Samples::Histograms(_) => MetricType::Histogram,
        };
        let mut family = encoder.encode_descriptor(self.name, self.help, self.unit, kind)?;
        match &self.samples {
            Samples::Counters(series) => {
                series.iter().try_for_each(|Series { labels, value, .. }| {
                    let mut encoder = family.encode_family(labels)?;
                    match value {
                        Count::Whole(value) => {
                            encoder.encode_counter::<NoLabelSet, _, u64>(value, None)
                        }
                        Count::Real(value) => {
                            encoder.encode_counter::<NoLabelSet, _, u64>(value, None)
                        }
                    }
                })
            }
            Samples::Gauges(series) => series
                .iter()
                .try_for_each(|it| family.encode_family(&it.labels)?.encode_gauge(&it.value)),
            Samples::Histograms(series) => {
                series.iter().try_for_each(|Series { labels, value, .. }| {
                    let bounds = value.bounds.iter().copied().chain([f64::INFINITY]);
                    let buckets: Vec<_> = bounds.zip(value.buckets.iter().copied()).collect();
                    let count = value.buckets.iter().sum();
                    let mut encoder = family.encode_family(labels)?;
                    encoder.encode_histogram::<NoLabelSet>(value.sum, count, &buckets, None)
                })
            }
        }
    }
}

/// Receiver of families, one after the other.
pub(super) struct Families<'a>(pub(super) &'a mut dyn FnMut(&Family<'_>) -> fmt::Result);

impl Families<'_> {
    /// Writes a family.
    pub(super) fn family(&mut self, family: &Family<'_>) -> fmt::Result {
        (self.0)(family)
    }

    /// Writes counters since the start of the host.
    pub(super) fn counter<'l, const N: usize, V: Into<Count>>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        series: impl IntoIterator<Item = ([Label<'l>; N], V)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| Series {
            labels: labels.to_vec(),
            value: value.into(),
            since: None,
        });
        let samples = Samples::Counters(series.collect());
        (self.0)(&Family { prefix: PREFIX, name, help, unit, samples })
    }

    /// Writes counters, each with the time since when it counts.
    pub(super) fn counter_since<'l, const N: usize, V: Into<Count>>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        series: impl IntoIterator<Item = ([Label<'l>; N], V, Instant)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value, since)| Series {
            labels: labels.to_vec(),
            value: value.into(),
            since: Some(since),
        });
        let samples = Samples::Counters(series.collect());
        (self.0)(&Family { prefix: PREFIX, name, help, unit, samples })
    }

    /// Writes a counter without labels.
    pub(super) fn total(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: impl Into<Count>,
    ) -> fmt::Result {
        self.counter(name, help, unit, [([], value)])
    }

    /// Writes gauges.
    pub(super) fn gauge<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        series: impl IntoIterator<Item = ([Label<'l>; N], f64)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| Series {
            labels: labels.to_vec(),
            value,
            since: None,
        });
        let samples = Samples::Gauges(series.collect());
        (self.0)(&Family { prefix: PREFIX, name, help, unit, samples })
    }

    /// Writes a gauge without labels.
    pub(super) fn single(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: f64,
    ) -> fmt::Result {
        self.gauge(name, help, unit, [([], value)])
    }

    /// Writes histograms of durations.
    pub(super) fn durations<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: &[([Label<'_>; N], MeterView)],
    ) -> fmt::Result {
        let series = series.iter().map(|(labels, view)| Series {
            labels: labels.to_vec(),
            value: view.into(),
            since: Some(view.since),
        });
        let samples = Samples::Histograms(series.collect());
        (self.0)(&Family { prefix: PREFIX, name, help, unit: Some(&Unit::Seconds), samples })
    }
}
