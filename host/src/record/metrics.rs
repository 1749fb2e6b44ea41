//! Metrics of a recorded call: the handle that notes them, and the expectations of its case.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use plugin::{DroppedUpdate, MetricSeries, MetricSink, MetricUpdate, MetricValue, PluginMetrics};
use serde_json::{Map, Value, json};

/// The metrics of a recorded call.
#[derive(Default)]
pub(super) struct NotedMetrics {
    /// The metrics with the updates of the call, within the limits of a plugin.
    metrics: PluginMetrics,
    /// `true` if the host dropped an update.
    pub(super) dropped: bool,
}

/// The handle for metrics of a recorded call.
pub(super) struct NotingMetrics {
    pub(super) inner: Arc<dyn MetricSink>,
    pub(super) noted: Arc<Mutex<NotedMetrics>>,
}

impl MetricSink for NotingMetrics {
    fn update(
        &self,
        plugin: &str,
        version: u64,
        update: MetricUpdate,
        max_series: usize,
    ) -> Result<(), DroppedUpdate> {
        self.inner.update(plugin, version, update.clone(), max_series).inspect_err(|_| {
            self.noted.lock().dropped = true;
        })?;
        self.noted.lock().metrics.apply(update, version, max_series, Instant::now())
    }
}

impl NotedMetrics {
    /// Returns the updated metrics in the form of a case's expectations. The values of histograms
    /// are mostly durations, which differ in a replay, so only their number is expected.
    pub(super) fn expected(&self) -> Value {
        let mut expected = Vec::new();
        self.metrics.each(|MetricSeries { name, kind, labels, value, .. }| {
            let labels = labels.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            let labels: Map<String, Value> = labels.collect();
            let mut item = json!({"name": name, "kind": kind.name(), "labels": labels});
            match value {
                MetricValue::Number(value) => item["value"] = json!(value),
                MetricValue::Distribution { buckets, .. } => {
                    item["count"] = buckets.iter().sum::<u64>().into();
                }
            }
            expected.push(item);
        });
        expected.into()
    }
}
