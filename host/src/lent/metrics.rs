//! Metrics of plugins.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use plugin::{DroppedUpdate, MetricSink, MetricUpdate, Nothing, PluginMetrics};

/// The metrics of all plugins of a device, in memory. A plugin without metrics has no entry.
#[derive(Default)]
pub(crate) struct Metrics {
    plugins: RwLock<HashMap<String, Arc<Mutex<PluginMetrics>>>>,
}

impl Metrics {
    /// Returns the handle for plugins. Nobody reads the metrics of a simulation, so none are kept.
    pub(crate) fn lent(self: &Arc<Self>, is_simulation: bool) -> Arc<dyn MetricSink> {
        if is_simulation { Arc::new(Nothing) } else { Arc::clone(self) as _ }
    }

    /// Returns the metrics of a plugin, if it has any.
    pub(crate) fn of(&self, plugin: &str) -> Option<Arc<Mutex<PluginMetrics>>> {
        self.plugins.read().get(plugin).cloned()
    }
}

impl MetricSink for Metrics {
    fn update(
        &self,
        plugin: &str,
        version: u64,
        update: MetricUpdate,
        max_series: usize,
    ) -> Result<(), DroppedUpdate> {
        let metrics = self.of(plugin).unwrap_or_else(|| {
            Arc::clone(self.plugins.write().entry(plugin.to_owned()).or_default())
        });
        metrics.lock().apply(update, version, max_series, Instant::now())
    }

    fn retain(&self, is_configured: &dyn Fn(&str) -> bool) {
        self.plugins.write().retain(|plugin, _| is_configured(plugin));
    }
}
