//! Metrics as a message of OTLP.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::messages::metrics::{
    CUMULATIVE, Data, ExportMetricsRequest, Gauge, Histogram, HistogramPoint, Metric, Number,
    NumberPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use super::messages::{InstrumentationScope, KeyValue, Resource};
use crate::metrics::{Count, Family, HostMetrics, Label, Samples, Series};

/// Returns the request with all metrics at the time `now`.
pub(super) fn request(
    metrics: &HostMetrics,
    resource: &Resource,
    now: SystemTime,
) -> ExportMetricsRequest {
    let start = |since| nanoseconds(metrics.since(since));
    let times = Times { start: &start, now: nanoseconds(now) };
    let mut converted = Vec::new();
    metrics.each(|family| converted.push(metric(family, times)));
    let scope = ScopeMetrics { scope: Some(InstrumentationScope::host()), metrics: converted };
    let resource = Some(resource.clone());
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics: vec![scope] }];
    ExportMetricsRequest { resource_metrics }
}

/// The times of points, in nanoseconds of Unix time.
#[derive(Clone, Copy)]
struct Times<'a> {
    /// Function that returns the time since when a series counts.
    start: &'a dyn Fn(Option<Instant>) -> u64,
    now: u64,
}

/// Returns the nanoseconds of Unix time, or 0 for a time before it.
pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn metric(family: &Family<'_>, times: Times<'_>) -> Metric {
    let number = |labels: &[Label<'_>], since, value| NumberPoint {
        attributes: attributes(labels),
        start_time: (times.start)(since),
        time: times.now,
        value: Some(value),
    };
    let data = match &family.samples {
        Samples::Counters(series) => Data::Sum(Sum {
            data_points: series
                .iter()
                .map(|Series { labels, value, since }| match *value {
                    Count::Whole(value) => {
                        let value = i64::try_from(value).unwrap_or(i64::MAX);
                        number(labels, *since, Number::Whole(value))
                    }
                    Count::Real(value) => number(labels, *since, Number::Real(value)),
                })
                .collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Samples::Gauges(series) => Data::Gauge(Gauge {
            data_points: series
                .iter()
                .map(|it| number(&it.labels, it.since, Number::Real(it.value)))
                .collect(),
        }),
        Samples::Histograms(series) => Data::Histogram(Histogram {
            data_points: series
                .iter()
                .map(|Series { labels, value, since }| HistogramPoint {
                    attributes: attributes(labels),
                    start_time: (times.start)(*since),
                    time: times.now,
                    count: value.buckets.iter().sum(),
                    sum: Some(value.sum),
                    bucket_counts: value.buckets.clone(),
                    explicit_bounds: value.bounds.clone(),
                })
                .collect(),
            aggregation_temporality: CUMULATIVE,
        }),
    };
    Metric {
        name: format!("{}_{}", family.prefix, family.name),
        description: family.help.to_owned(),
        unit: family.ucum().to_owned(),
        data: Some(data),
    }
}

fn attributes(labels: &[Label<'_>]) -> Vec<KeyValue> {
    labels.iter().map(|(key, value)| KeyValue::text(*key, *value)).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Distribution;

    #[test]
    fn a_point_begins_when_its_series_has_begun() {
        let began = Instant::now();
        let start = |since: Option<Instant>| since.map_or(7, |it| (it - began).as_secs());
        let times = Times { start: &start, now: 100 };
        let since = |seconds| Some(began + Duration::from_secs(seconds));
        let family = |samples| {
            let family = Family { prefix: "p", name: "n", help: "", unit: None, samples };
            metric(&family, times).data.unwrap()
        };
        let count = |since| Series { labels: Vec::new(), value: Count::Whole(1), since };
        let Data::Sum(sum) = family(Samples::Counters(vec![count(None), count(since(20))])) else {
            panic!("a counter is a sum");
        };
        let starts: Vec<_> = sum.data_points.iter().map(|it| (it.start_time, it.time)).collect();
        assert_eq!(starts, [(7, 100), (20, 100)]);
        let value = Distribution { bounds: vec![1.0], buckets: vec![0, 1], sum: 2.0 };
        let series = Series { labels: Vec::new(), value, since: since(30) };
        let Data::Histogram(histogram) = family(Samples::Histograms(vec![series])) else {
            panic!("a histogram is a histogram");
        };
        assert_eq!(histogram.data_points[0].start_time, 30);
    }
}
