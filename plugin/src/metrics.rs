//! Metrics of a plugin: their rules, and their values in memory.
//!
//! [`PluginMetrics`] holds the metrics of one plugin, for a host as for the author's tool. It
//! checks every update and has a limit on everything, so its size is bounded whatever a plugin
//! does. An update that is not accepted changes nothing but a count.
//!
//! The metrics belong to the plugin, not to a version of it, so that its counters only grow. A
//! version that needs room or another kind of metric replaces the series that only earlier
//! versions have updated.

mod names;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::{Duration, Instant};

pub use names::MetricError;
use names::{check_labels, check_name};

/// Maximum number of metrics of a plugin, and of buckets with a bound of a histogram.
const MAX_METRICS: usize = 64;
const MAX_BOUNDS: usize = 32;

/// Upper bounds of a histogram without its own: those for durations in seconds of the
/// clients of Prometheus.
const DEFAULT_BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Time until another dropped update of the same cause is worth a line in the log.
const REPORT_AGAIN: Duration = Duration::from_secs(3600);

/// A label of a series: its name and value.
pub type MetricLabel = (String, String);

/// An update of a metric.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricUpdate {
    /// Name of the metric.
    pub name: String,
    /// Labels of the series, in any order.
    pub labels: Vec<MetricLabel>,
    /// Change of the series, or of the metric.
    pub change: MetricChange,
}

/// A change of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricChange {
    /// Adds an amount to a counter.
    Add(f64),
    /// Sets a gauge.
    Set(f64),
    /// Adds a value to a histogram.
    Observe(f64),
    /// Sets the upper bounds of the buckets of a histogram.
    Bounds(Vec<f64>),
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MetricKind {
    /// A sum that only grows.
    Counter,
    /// A value that can rise and fall.
    Gauge,
    /// The distribution of values over buckets.
    Histogram,
}

impl MetricKind {
    /// Returns the name of the kind: `counter`, `gauge` or `histogram`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// The value of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricValue {
    /// The value of a counter or a gauge.
    Number(f64),
    /// The value of a histogram.
    Distribution {
        /// The number of values in each bucket. The last bucket has no bound.
        buckets: Box<[u64]>,
        /// The sum of all values.
        sum: f64,
    },
}

/// An update that was dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedUpdate {
    /// Reason for the drop.
    pub error: MetricError,
    /// `true` if no update of the plugin was dropped for such a reason within the last hour.
    pub is_new: bool,
}

/// The metrics of one plugin.
#[derive(Debug, Default)]
pub struct PluginMetrics {
    metrics: BTreeMap<String, Metric>,
    /// Number of series of all metrics.
    series: usize,
    dropped: u64,
    /// Times of the last reports about invalid and about surplus updates.
    reported: [Option<Instant>; 2],
    /// The last version for which unused series were removed.
    made_room_for: Option<u64>,
}

#[derive(Debug)]
struct Metric {
    kind: MetricKind,
    /// Upper bounds of the buckets of a histogram.
    bounds: Vec<f64>,
    /// The version that updated the metric last.
    version: u64,
    series: BTreeMap<Vec<MetricLabel>, Series>,
}

#[derive(Debug)]
struct Series {
    value: MetricValue,
    /// Time of the first update. A series that was removed begins anew.
    since: Instant,
    /// The version that updated the series last.
    version: u64,
}

impl PluginMetrics {
    /// Applies an update by a version of the plugin, whose number is different from that of every
    /// other version.
    ///
    /// # Errors
    ///
    /// Returns an error if the update is invalid, or if the plugin would have more than
    /// `max_series` series.
    pub fn apply(
        &mut self,
        update: MetricUpdate,
        version: u64,
        max_series: usize,
        now: Instant,
    ) -> Result<(), DroppedUpdate> {
        self.checked(update, version, max_series, now).map_err(|error| {
            self.dropped += 1;
            let last = &mut self.reported[usize::from(error.is_surplus())];
            let is_new = last.is_none_or(|last| now.duration_since(last) >= REPORT_AGAIN);
            if is_new {
                *last = Some(now);
            }
            DroppedUpdate { error, is_new }
        })
    }

    fn checked(
        &mut self,
        update: MetricUpdate,
        version: u64,
        max_series: usize,
        now: Instant,
    ) -> Result<(), MetricError> {
        let MetricUpdate { name, mut labels, change } = update;
        check_name(&name)?;
        check_labels(&name, &mut labels)?;
        let kind = change.check(&name)?;
        if !self.metrics.contains_key(&name) && self.metrics.len() >= MAX_METRICS {
            self.make_room(version);
            if self.metrics.len() >= MAX_METRICS {
                return Err(MetricError::TooManyMetrics(MAX_METRICS));
            }
        }
        self.fit_kind(&name, kind, version)?;
        if let MetricChange::Bounds(bounds) = change {
            self.set_bounds(name, bounds, version);
            return Ok(());
        }
        let has_series =
            self.metrics.get(&name).is_some_and(|metric| metric.series.contains_key(&labels));
        if !has_series && self.series >= max_series {
            self.make_room(version);
            if self.series >= max_series {
                return Err(MetricError::TooManySeries(max_series));
            }
        }
        let metric = self.metrics.entry(name).or_insert_with(|| Metric::new(kind, version));
        metric.version = version;
        let series = match metric.series.entry(labels) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                self.series += 1;
                let value = MetricValue::initial(kind, &metric.bounds);
                entry.insert(Series { value, since: now, version })
            }
        };
        series.version = version;
        series.value.change(&change, &metric.bounds);
        Ok(())
    }

    /// Removes a metric of another kind if an earlier version has created it.
    fn fit_kind(&mut self, name: &str, kind: MetricKind, version: u64) -> Result<(), MetricError> {
        match self.metrics.get(name) {
            Some(metric) if metric.kind != kind && metric.version == version => {
                Err(MetricError::Kind { name: name.to_owned(), is: metric.kind, used_as: kind })
            }
            Some(metric) if metric.kind != kind => {
                self.series -= metric.series.len();
                self.metrics.remove(name);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn set_bounds(&mut self, name: String, bounds: Vec<f64>, version: u64) {
        let metric = self.metrics.entry(name);
        let metric = metric.or_insert_with(|| Metric::new(MetricKind::Histogram, version));
        metric.version = version;
        if metric.bounds != bounds {
            self.series -= metric.series.len();
            metric.series.clear();
            metric.bounds = bounds;
        }
    }

    /// Removes, once for each version, what only other versions have updated.
    fn make_room(&mut self, version: u64) {
        if self.made_room_for.replace(version) == Some(version) {
            return;
        }
        for metric in self.metrics.values_mut() {
            metric.series.retain(|_, series| series.version == version);
        }
        self.metrics.retain(|_, metric| metric.version == version || !metric.series.is_empty());
        self.series = self.metrics.values().map(|metric| metric.series.len()).sum();
    }

    /// Calls `receive` with each series, in the order of names and labels.
    pub fn each(&self, mut receive: impl FnMut(MetricSeries<'_>)) {
        for (name, Metric { kind, bounds, series, .. }) in &self.metrics {
            for (labels, Series { value, since, .. }) in series {
                receive(MetricSeries { name, kind: *kind, labels, bounds, value, since: *since });
            }
        }
    }

    /// Returns the number of dropped updates.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// A series of a plugin.
#[derive(Debug, Clone, Copy)]
pub struct MetricSeries<'a> {
    /// Name of the metric.
    pub name: &'a str,
    /// Kind of the metric.
    pub kind: MetricKind,
    /// Labels in the order of their names.
    pub labels: &'a [MetricLabel],
    /// Upper bounds of the buckets of a histogram.
    pub bounds: &'a [f64],
    /// Current value.
    pub value: &'a MetricValue,
    /// Time since when the value is counted.
    pub since: Instant,
}

impl MetricChange {
    /// Returns the kind of metric that can change like this.
    fn check(&self, name: &str) -> Result<MetricKind, MetricError> {
        let (kind, value) = match self {
            MetricChange::Add(amount) if *amount < 0.0 => {
                return Err(MetricError::Decrease { name: name.to_owned() });
            }
            MetricChange::Add(amount) => (MetricKind::Counter, *amount),
            MetricChange::Set(value) => (MetricKind::Gauge, *value),
            MetricChange::Observe(value) => (MetricKind::Histogram, *value),
            MetricChange::Bounds(bounds) => {
                let is_ascending = bounds.is_sorted_by(|a, b| a < b);
                let is_finite = bounds.iter().all(|bound| bound.is_finite());
                if !is_ascending || !is_finite || !(1..=MAX_BOUNDS).contains(&bounds.len()) {
                    return Err(MetricError::Bounds { name: name.to_owned(), most: MAX_BOUNDS });
                }
                (MetricKind::Histogram, 0.0)
            }
        };
        match value.is_finite() {
            true => Ok(kind),
            false => Err(MetricError::NotFinite { name: name.to_owned() }),
        }
    }
}

impl Metric {
    fn new(kind: MetricKind, version: u64) -> Metric {
        let bounds = match kind {
            MetricKind::Histogram => DEFAULT_BOUNDS.to_vec(),
            MetricKind::Counter | MetricKind::Gauge => Vec::new(),
        };
        Metric { kind, bounds, version, series: BTreeMap::new() }
    }
}

impl MetricValue {
    /// Returns the value of a series without updates.
    fn initial(kind: MetricKind, bounds: &[f64]) -> MetricValue {
        match kind {
            MetricKind::Counter | MetricKind::Gauge => MetricValue::Number(0.0),
            MetricKind::Histogram => {
                let buckets = vec![0; bounds.len() + 1].into_boxed_slice();
                MetricValue::Distribution { buckets, sum: 0.0 }
            }
        }
    }

    fn change(&mut self, change: &MetricChange, bounds: &[f64]) {
        let within = |sum: f64| sum.clamp(f64::MIN, f64::MAX);
        match (self, change) {
            (MetricValue::Number(value), MetricChange::Add(amount)) => {
                *value = within(*value + amount);
            }
            (MetricValue::Number(value), MetricChange::Set(new)) => *value = *new,
            (MetricValue::Distribution { buckets, sum }, MetricChange::Observe(new)) => {
                // The bound of a bucket is part of it.
                buckets[bounds.partition_point(|bound| bound < new)] += 1;
                *sum = within(*sum + new);
            }
            _ => unreachable!("the kind of the metric was checked"),
        }
    }
}

#[cfg(test)]
mod tests;
