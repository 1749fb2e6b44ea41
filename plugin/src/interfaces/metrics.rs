//! `device:behaviour/metrics`: metrics of the plugin.

use super::bindings::device::behaviour::metrics::Host;
use crate::Level;
use crate::call::state::CallState;
use crate::metrics::{MetricChange, MetricUpdate};

impl Host for CallState {
    fn add(&mut self, name: String, amount: f64, labels: Vec<(String, String)>) {
        self.update_metric(name, labels, MetricChange::Add(amount));
    }

    fn set(&mut self, name: String, value: f64, labels: Vec<(String, String)>) {
        self.update_metric(name, labels, MetricChange::Set(value));
    }

    fn observe(&mut self, name: String, value: f64, labels: Vec<(String, String)>) {
        self.update_metric(name, labels, MetricChange::Observe(value));
    }

    fn set_bounds(&mut self, name: String, bounds: Vec<f64>) {
        self.update_metric(name, Vec::new(), MetricChange::Bounds(bounds));
    }
}

impl CallState {
    fn update_metric(&self, name: String, labels: Vec<(String, String)>, change: MetricChange) {
        let update = MetricUpdate { name, labels, change };
        let (plugin, sink) = (&self.plugin, &self.lent.metrics);
        let max_series = plugin.limits.metric_series;
        let Err(dropped) = sink.update(&plugin.name, plugin.version, update, max_series) else {
            return;
        };
        if dropped.is_new {
            let message =
                format!("metric update dropped, further ones are only counted: {}", dropped.error);
            self.log.write(Level::Warn, &message, Vec::new());
        }
    }
}
