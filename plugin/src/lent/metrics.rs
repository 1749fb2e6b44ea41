//! Metrics of plugins.

use crate::metrics::{DroppedUpdate, MetricUpdate};

/// Keeps the metrics of plugins, separately for each of them, such as in
/// [`PluginMetrics`](crate::PluginMetrics).
pub trait MetricSink: Send + Sync {
    /// Applies an update by a version of a plugin. `version` differs from the number of every
    /// other version in the process. `max_series` is the maximum number of series of the plugin:
    /// [`Limits::metric_series`](crate::Limits::metric_series).
    fn update(
        &self,
        plugin: &str,
        version: u64,
        update: MetricUpdate,
        max_series: usize,
    ) -> Result<(), DroppedUpdate>;

    /// Forgets the metrics of plugins that are not configured any more. The default keeps all.
    fn retain(&self, is_configured: &dyn Fn(&str) -> bool) {
        let _ = is_configured;
    }
}
