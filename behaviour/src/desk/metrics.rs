//! Metrics in memory, by the rules of a host. Their values are those since the last
//! [`Metrics::report`].

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use plugin::{
    DroppedUpdate, MetricKind, MetricSeries, MetricSink, MetricUpdate, MetricValue, PluginMetrics,
};

use super::record::{Action, Record};

pub(super) struct Metrics {
    metrics: Mutex<PluginMetrics>,
    record: Arc<Record>,
}

impl Metrics {
    pub(super) fn new(record: Arc<Record>) -> Metrics {
        Metrics { metrics: Mutex::default(), record }
    }

    /// Adds the values of all series to the record, and begins anew.
    pub(super) fn report(&self) {
        let metrics = std::mem::take(&mut *self.metrics.lock());
        metrics.each(|series| self.record.add(action(series)));
    }
}

impl MetricSink for Metrics {
    fn update(
        &self,
        _plugin: &str,
        version: u64,
        update: MetricUpdate,
        max_series: usize,
    ) -> Result<(), DroppedUpdate> {
        self.metrics.lock().apply(update, version, max_series, Instant::now())
    }
}

fn action(MetricSeries { name, kind, labels, value, .. }: MetricSeries<'_>) -> Action {
    let (name, labels) = (name.to_owned(), labels.to_vec());
    match value {
        MetricValue::Number(value) if kind == MetricKind::Counter => {
            Action::Counter { name, labels, value: *value }
        }
        MetricValue::Number(value) => Action::Gauge { name, labels, value: *value },
        MetricValue::Distribution { buckets, sum } => {
            Action::Histogram { name, labels, count: buckets.iter().sum(), sum: *sum }
        }
    }
}
