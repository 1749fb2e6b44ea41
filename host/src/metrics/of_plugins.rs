//! The metrics that plugins keep themselves.
//!
//! The same metric of several plugins is one family, with the label `plugin`. A family has one
//! kind: that of the first plugin in alphabetical order. Metrics of other plugins with this name and
//! another kind are left out and counted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use plugin::{MetricKind, MetricLabel, MetricSeries, MetricValue, PluginMetrics};

use super::families::{Count, Distribution, Families, Family, Label, Samples, Series};
use super::{MetricSources, PLUGIN_PREFIX};

/// The label that the host adds.
const PLUGIN: &str = "plugin";

const HELP: &str = "Metric of plugins.";

/// A copy of the metrics of all plugins, whose locks are held only while it is made.
struct MetricsOfPlugins {
    plugins: Vec<OfPlugin>,
    /// The kind of each family.
    kinds: BTreeMap<String, MetricKind>,
}

struct OfPlugin {
    plugin: String,
    dropped: u64,
    series: Vec<OwnSeries>,
}

struct OwnSeries {
    name: String,
    kind: MetricKind,
    labels: Vec<MetricLabel>,
    bounds: Vec<f64>,
    value: MetricValue,
    since: Instant,
}

impl OwnSeries {
    fn copy(series: MetricSeries<'_>) -> OwnSeries {
        OwnSeries {
            name: series.name.to_owned(),
            kind: series.kind,
            labels: series.labels.to_vec(),
            bounds: series.bounds.to_vec(),
            value: series.value.clone(),
            since: series.since,
        }
    }

    fn labels<'a>(&'a self, plugin: &'a str) -> Vec<Label<'a>> {
        let own = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        [(PLUGIN, plugin)].into_iter().chain(own).collect()
    }

    fn number(&self) -> f64 {
        match self.value {
            MetricValue::Number(number) => number,
            MetricValue::Distribution { sum, .. } => sum,
        }
    }

    fn distribution(&self) -> Distribution {
        let (buckets, sum) = match &self.value {
            MetricValue::Number(_) => (Vec::new(), 0.0),
            MetricValue::Distribution { buckets, sum } => (buckets.to_vec(), *sum),
        };
        Distribution { bounds: self.bounds.clone(), buckets, sum }
    }
}

impl MetricsOfPlugins {
    /// Copies the metrics of plugins, which are in alphabetical order.
    fn copy<'a>(
        metrics: impl Iterator<Item = (&'a String, Arc<Mutex<PluginMetrics>>)>,
    ) -> MetricsOfPlugins {
        let (mut plugins, mut kinds) = (Vec::new(), BTreeMap::new());
        for (plugin, metrics) in metrics {
            let metrics = metrics.lock();
            let mut series = Vec::new();
            metrics.each(|it| series.push(OwnSeries::copy(it)));
            let dropped = metrics.dropped();
            for OwnSeries { name, kind, .. } in &series {
                kinds.entry(name.clone()).or_insert(*kind);
            }
            plugins.push(OfPlugin { plugin: plugin.clone(), dropped, series });
        }
        MetricsOfPlugins { plugins, kinds }
    }

    /// Returns the series of a family, with the names of their plugins.
    fn series<'a>(&'a self, name: &str, kind: MetricKind) -> Vec<(&'a str, &'a OwnSeries)> {
        let mut found = Vec::new();
        for OfPlugin { plugin, series, .. } in &self.plugins {
            let start = series.partition_point(|it| it.name.as_str() < name);
            let named = series[start..].iter().take_while(|it| it.name == name);
            found.extend(named.filter(|it| it.kind == kind).map(|it| (plugin.as_str(), it)));
        }
        found
    }

    /// Returns the number of series of a plugin that are left out.
    fn left_out(&self, plugin: &OfPlugin) -> usize {
        plugin.series.iter().filter(|it| self.kinds.get(&it.name) != Some(&it.kind)).count()
    }
}

impl MetricSources {
    fn copy_of_plugins(&self) -> MetricsOfPlugins {
        let table = self.router.table();
        let plugins = table.slots().keys();
        MetricsOfPlugins::copy(
            plugins.filter_map(|plugin| Some((plugin, self.of_plugins.of(plugin)?))),
        )
    }

    /// Writes the families of plugins.
    pub(super) fn of_plugins(&self, families: &mut Families<'_>) -> fmt::Result {
        let snapshot = self.copy_of_plugins();
        for (name, kind) in &snapshot.kinds {
            let series = snapshot.series(name, *kind);
            let samples = match kind {
                MetricKind::Counter => Samples::Counters(with(&series, |it| it.number().into())),
                MetricKind::Gauge => Samples::Gauges(with(&series, OwnSeries::number)),
                MetricKind::Histogram => {
                    Samples::Histograms(with(&series, OwnSeries::distribution))
                }
            };
            let (prefix, help, unit) = (PLUGIN_PREFIX, HELP, None);
            families.family(&Family { prefix, name, help, unit, samples })?;
        }
        Ok(())
    }

    /// Writes the host's own families about the metrics of plugins.
    pub(super) fn about_plugins(&self, families: &mut Families<'_>) -> fmt::Result {
        let snapshot = self.copy_of_plugins();
        let plugins = || snapshot.plugins.iter().map(|it| ([(PLUGIN, it.plugin.as_str())], it));
        let count = plugins().map(|(plugin, it)| (plugin, it.series.len() as f64));
        let help = "Series of the plugin's own metrics.";
        families.gauge("plugin_metric_series", help, None, count)?;
        let dropped = plugins().map(|(plugin, it)| (plugin, Count::from(it.dropped)));
        let help = "Updates of the plugin's own metrics that were invalid or beyond its limits.";
        families.counter("plugin_metric_updates_dropped", help, None, dropped)?;
        let left_out = plugins().map(|(plugin, it)| (plugin, snapshot.left_out(it) as f64));
        let help = "Series that are not shown, since another plugin has a metric of this name and \
                    another kind.";
        families.gauge("plugin_metric_series_left_out", help, None, left_out)
    }
}

/// Returns series with their labels and values.
fn with<'a, V>(
    series: &[(&'a str, &'a OwnSeries)],
    value: impl Fn(&OwnSeries) -> V,
) -> Vec<Series<'a, V>> {
    let series = series.iter().map(|(plugin, it)| Series {
        labels: it.labels(plugin),
        value: value(it),
        since: Some(it.since),
    });
    series.collect()
}

#[cfg(test)]
mod tests {
    use plugin::{MetricChange, MetricUpdate};

    use super::*;

    fn metrics(updates: &[(&str, MetricChange)]) -> Arc<Mutex<PluginMetrics>> {
        let mut metrics = PluginMetrics::default();
        for (name, change) in updates {
            let (name, change) = ((*name).to_owned(), change.clone());
            let update = MetricUpdate { name, labels: Vec::new(), change };
            metrics.apply(update, 1, 10, Instant::now()).unwrap();
        }
        Arc::new(Mutex::new(metrics))
    }

    #[test]
    fn a_family_has_the_kind_of_the_first_plugin_and_other_kinds_are_left_out() {
        let (add, set) = (MetricChange::Add(1.0), MetricChange::Set(2.0));
        let names = ["a", "b", "c"].map(str::to_owned);
        let plugins = [
            metrics(&[("heat", set.clone())]),
            metrics(&[("heat", add.clone()), ("orders", add)]),
            metrics(&[("heat", set)]),
        ];
        let copy = MetricsOfPlugins::copy(names.iter().zip(plugins));

        let heat = copy.series("heat", MetricKind::Gauge);
        assert_eq!(heat.iter().map(|(plugin, _)| *plugin).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(copy.series("orders", MetricKind::Counter).len(), 1);
        let left_out: Vec<_> = copy.plugins.iter().map(|it| copy.left_out(it)).collect();
        assert_eq!(left_out, [0, 1, 0]);
    }
}
