//! Metrics as a message of OTLP.

use std::time::{SystemTime, UNIX_EPOCH};

use super::messages::metrics::{
    CUMULATIVE, Data, ExportMetricsRequest, Gauge, Histogram, HistogramPoint, Metric, Number,
    NumberPoint, ResourceMetrics, ScopeMetrics, Sum,
};
use super::messages::{InstrumentationScope, KeyValue, Resource};
use crate::metrics::{Count, Family, HostMetrics, Label, Samples};

/// Returns the request with all metrics at the time `now`.
pub(super) fn request(
    metrics: &HostMetrics,
    resource: &Resource,
    now: SystemTime,
) -> ExportMetricsRequest {
    let times = Times { start: nanoseconds(metrics.since()), now: nanoseconds(now) };
    let mut converted = Vec::new();
    metrics.each(|family| converted.push(metric(family, times)));
    let scope = ScopeMetrics { scope: Some(InstrumentationScope::host()), metrics: converted };
    let resource = Some(resource.clone());
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics: vec![scope] }];
    ExportMetricsRequest { resource_metrics }
}

/// The times of a point, in nanoseconds of Unix time.
#[derive(Clone, Copy)]
struct Times {
    start: u64,
    now: u64,
}

/// Returns the nanoseconds of Unix time, or 0 for a time before it.
pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn metric(family: &Family<'_>, times: Times) -> Metric {
    let number = |labels: &[Label<'_>], value| NumberPoint {
        attributes: attributes(labels),
        start_time: times.start,
        time: times.now,
        value: Some(value),
    };
    let data = match &family.samples {
        Samples::Counters(series) => Data::Sum(Sum {
            data_points: series
                .iter()
                .map(|(labels, value)| match *value {
                    Count::Whole(value) => {
                        number(labels, Number::Whole(i64::try_from(value).unwrap_or(i64::MAX)))
                    }
                    Count::Real(value) => number(labels, Number::Real(value)),
                })
                .collect(),
            aggregation_temporality: CUMULATIVE,
            is_monotonic: true,
        }),
        Samples::Gauges(series) => Data::Gauge(Gauge {
            data_points: series
                .iter()
                .map(|(labels, value)| number(labels, Number::Real(*value)))
                .collect(),
        }),
        Samples::Histograms(series) => Data::Histogram(Histogram {
            data_points: series
                .iter()
                .map(|(labels, value)| HistogramPoint {
                    attributes: attributes(labels),
                    start_time: times.start,
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
