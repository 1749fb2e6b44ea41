//! Tests of the rules and limits of metrics.

use super::*;

const MAX_SERIES: usize = 500;

fn update(name: &str, labels: &[(&str, &str)], change: MetricChange) -> MetricUpdate {
    let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    MetricUpdate { name: name.to_owned(), labels: labels.collect(), change }
}

/// Metrics to which one version makes updates.
struct Version<'a>(&'a mut PluginMetrics, u64);

impl Version<'_> {
    fn apply(&mut self, update: MetricUpdate) -> Result<(), DroppedUpdate> {
        self.0.apply(update, self.1, MAX_SERIES, Instant::now())
    }

    fn add(&mut self, name: &str, labels: &[(&str, &str)], amount: f64) {
        self.apply(update(name, labels, MetricChange::Add(amount))).unwrap();
    }
}

/// Returns the series as `name{label="value"} value`.
fn text(metrics: &PluginMetrics) -> Vec<String> {
    let mut lines = Vec::new();
    metrics.each(|MetricSeries { name, labels, value, .. }| {
        let labels: Vec<_> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let value = match value {
            MetricValue::Number(number) => number.to_string(),
            MetricValue::Distribution { buckets, sum } => format!("{buckets:?} {sum}"),
        };
        lines.push(format!("{name}{{{}}} {value}", labels.join(",")));
    });
    lines
}

#[test]
fn each_set_of_labels_is_a_series_whatever_their_order() {
    let mut metrics = PluginMetrics::default();
    let mut version = Version(&mut metrics, 1);
    version.add("orders", &[("size", "xl"), ("colour", "red")], 2.0);
    version.add("orders", &[("colour", "red"), ("size", "xl")], 1.5);
    version.add("orders", &[], 1.0);
    version.apply(update("heat", &[], MetricChange::Set(-3.0))).unwrap();
    version.apply(update("heat", &[], MetricChange::Set(21.5))).unwrap();

    let expected = ["heat{} 21.5", "orders{} 1", "orders{colour=red,size=xl} 3.5"];
    assert_eq!(text(&metrics), expected);
}

#[test]
fn a_histogram_counts_a_bound_in_its_bucket_and_other_bounds_begin_it_anew() {
    let mut metrics = PluginMetrics::default();
    let mut version = Version(&mut metrics, 1);
    let bounds = |bounds: &[f64]| update("wait", &[], MetricChange::Bounds(bounds.to_vec()));
    let observe = |value| update("wait", &[], MetricChange::Observe(value));
    version.apply(bounds(&[1.0, 2.0])).unwrap();
    for value in [0.5, 1.0, 1.5, 2.5, -1.0] {
        version.apply(observe(value)).unwrap();
        version.apply(bounds(&[1.0, 2.0])).unwrap();
    }
    assert_eq!(text(version.0), ["wait{} [3, 1, 1] 4.5"]);

    version.apply(bounds(&[3.0])).unwrap();
    version.apply(observe(3.0)).unwrap();
    assert_eq!(text(&metrics), ["wait{} [1, 0] 3"]);
}

#[test]
fn a_series_that_begins_anew_has_a_new_start() {
    let (mut metrics, begun) = (PluginMetrics::default(), Instant::now());
    let mut apply = |name: &str, change, version, max_series, seconds| {
        let now = begun + Duration::from_secs(seconds);
        metrics.apply(update(name, &[], change), version, max_series, now).unwrap();
        let mut starts = Vec::new();
        metrics.each(|series| starts.push((series.name.to_owned(), series.since - begun)));
        let starts = starts.iter().map(|(name, start)| format!("{name} {}", start.as_secs()));
        starts.collect::<Vec<_>>().join(", ")
    };
    let (add, observe) = (MetricChange::Add(1.0), MetricChange::Observe(1.0));
    apply("wait", observe.clone(), 1, 9, 1);
    assert_eq!(apply("wait", observe.clone(), 2, 9, 2), "wait 1", "a swap keeps it");
    apply("wait", MetricChange::Bounds(vec![3.0]), 2, 9, 3);
    assert_eq!(apply("wait", observe, 2, 9, 4), "wait 4", "other bounds");
    assert_eq!(apply("wait", add.clone(), 3, 9, 5), "wait 5", "another kind");
    assert_eq!(apply("orders", add.clone(), 4, 1, 6), "orders 6", "`wait` gives way");
    assert_eq!(apply("wait", add, 5, 1, 7), "wait 7", "and comes back");
}

#[test]
fn an_invalid_update_is_dropped_counted_and_explained() {
    let many: Vec<_> = (0..9).map(|number| format!("l{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), "")).collect();
    let long = "x".repeat(129);
    let (add, observe) = (MetricChange::Add, MetricChange::Observe);
    let invalid = [
        (update("", &[], add(1.0)), "metric ``: a name has 1 to 64 letters"),
        (update("9a", &[], add(1.0)), "metric `9a`: a name has"),
        (update("a\nb", &[], add(1.0)), "metric `a\\nb`: a name has"),
        (update(&"x".repeat(65), &[], add(1.0)), "a name has 1 to 64 letters"),
        (update("orders_total", &[], add(1.0)), "cannot end with `_total`"),
        (update("a", &[("b-c", "")], add(1.0)), "label `b-c` of metric `a`: a name has"),
        (update("a", &[("plugin", "")], add(1.0)), "label `plugin` of metric `a`: the name is res"),
        (update("a", &[("b", "1"), ("b", "2")], add(1.0)), "label `b` of metric `a` occurs twice"),
        (update("a", &many, add(1.0)), "metric `a` has 9 labels; 8 are allowed"),
        (update("a", &[("b", &long)], add(1.0)), "a value of 129 bytes; 128 are allowed"),
        (update("a", &[], add(-1.0)), "the amount of a counter is negative"),
        (update("a", &[], add(f64::NAN)), "not a finite number"),
        (update("a", &[], observe(f64::INFINITY)), "not a finite number"),
        (update("a", &[], MetricChange::Bounds(vec![])), "not 1 to 32 finite numbers"),
        (update("a", &[], MetricChange::Bounds(vec![1.0, 1.0])), "in ascending order"),
        (update("a", &[], MetricChange::Bounds(vec![f64::NAN])), "finite numbers"),
        (
            update("heat", &[], add(1.0)),
            "metric `heat` is a gauge, and cannot be used as a counter",
        ),
    ];
    let mut metrics = PluginMetrics::default();
    let mut version = Version(&mut metrics, 1);
    version.apply(update("heat", &[], MetricChange::Set(1.0))).unwrap();
    for (invalid, expected) in invalid.clone() {
        let message = version.apply(invalid).unwrap_err().error.to_string();
        assert!(message.contains(expected), "{message}");
    }
    assert_eq!(text(&metrics), ["heat{} 1"]);
    assert_eq!(metrics.dropped(), invalid.len() as u64);
}

#[test]
fn surplus_series_and_metrics_are_dropped_and_reported_once_an_hour() {
    let mut metrics = PluginMetrics::default();
    let begun = Instant::now();
    let mut reports = 0;
    for number in 0..100_000_u32 {
        let update = update("orders", &[("id", &number.to_string())], MetricChange::Add(1.0));
        let dropped = metrics.apply(update, 1, MAX_SERIES, begun).err();
        reports += usize::from(dropped.is_some_and(|dropped| dropped.is_new));
    }
    assert_eq!((text(&metrics).len(), metrics.dropped(), reports), (MAX_SERIES, 99_500, 1));

    let later = update("orders", &[("id", "x")], MetricChange::Add(1.0));
    let dropped = metrics.apply(later, 1, MAX_SERIES, begun + REPORT_AGAIN).unwrap_err();
    assert!(dropped.is_new && dropped.error.is_surplus());
    // The reason is another one, which is worth a line of its own.
    let invalid = update("", &[], MetricChange::Add(1.0));
    assert!(metrics.apply(invalid, 1, MAX_SERIES, begun).unwrap_err().is_new);

    let mut metrics = PluginMetrics::default();
    let named = |number| update(&format!("m{number}"), &[], MetricChange::Set(1.0));
    for number in 0..MAX_METRICS {
        metrics.apply(named(number), 1, MAX_SERIES, begun).unwrap();
    }
    let dropped = metrics.apply(named(MAX_METRICS), 1, MAX_SERIES, begun).unwrap_err();
    assert_eq!(dropped.error, MetricError::TooManyMetrics(MAX_METRICS));
}

#[test]
fn a_counter_only_grows_over_versions() {
    let mut metrics = PluginMetrics::default();
    Version(&mut metrics, 1).add("orders", &[], 2.0);
    Version(&mut metrics, 2).add("orders", &[], 1.0);
    assert_eq!(text(&metrics), ["orders{} 3"]);
}

#[test]
fn a_new_version_replaces_what_only_earlier_versions_have_updated_if_it_needs_that() {
    let mut metrics = PluginMetrics::default();
    let mut first = Version(&mut metrics, 1);
    first.add("kept", &[], 1.0);
    first.add("kind", &[], 1.0);
    for number in 0..MAX_SERIES - 2 {
        first.add("flood", &[("id", &number.to_string())], 1.0);
    }
    let mut second = Version(&mut metrics, 2);
    second.add("kept", &[], 1.0);
    second.apply(update("kind", &[], MetricChange::Set(5.0))).unwrap();
    second.add("new", &[], 1.0);

    assert_eq!(text(&metrics), ["kept{} 2", "kind{} 5", "new{} 1"]);
}
