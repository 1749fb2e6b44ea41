//! Messages of metrics.

use prost::{Message, Oneof};

use super::{InstrumentationScope, KeyValue, Resource};

/// Temporality of numbers that count since the start of the sender.
pub(in crate::otlp) const CUMULATIVE: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct ExportMetricsRequest {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::otlp) resource_metrics: Vec<ResourceMetrics>,
}

impl ExportMetricsRequest {
    /// Returns the number of metrics.
    pub(in crate::otlp) fn metrics(&self) -> usize {
        let scopes = self.resource_metrics.iter().flat_map(|it| &it.scope_metrics);
        scopes.map(|it| it.metrics.len()).sum()
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    pub(in crate::otlp) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::otlp) scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct ScopeMetrics {
    #[prost(message, optional, tag = "1")]
    pub(in crate::otlp) scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::otlp) metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct Metric {
    #[prost(string, tag = "1")]
    pub(in crate::otlp) name: String,
    #[prost(string, tag = "2")]
    pub(in crate::otlp) description: String,
    #[prost(string, tag = "3")]
    pub(in crate::otlp) unit: String,
    #[prost(oneof = "Data", tags = "5, 7, 9")]
    pub(in crate::otlp) data: Option<Data>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(in crate::otlp) enum Data {
    #[prost(message, tag = "5")]
    Gauge(Gauge),
    #[prost(message, tag = "7")]
    Sum(Sum),
    #[prost(message, tag = "9")]
    Histogram(Histogram),
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct Gauge {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::otlp) data_points: Vec<NumberPoint>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct Sum {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::otlp) data_points: Vec<NumberPoint>,
    #[prost(int32, tag = "2")]
    pub(in crate::otlp) aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    pub(in crate::otlp) is_monotonic: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct Histogram {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::otlp) data_points: Vec<HistogramPoint>,
    #[prost(int32, tag = "2")]
    pub(in crate::otlp) aggregation_temporality: i32,
}

/// A number of a series. Times are nanoseconds of Unix time.
#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct NumberPoint {
    #[prost(message, repeated, tag = "7")]
    pub(in crate::otlp) attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "2")]
    pub(in crate::otlp) start_time: u64,
    #[prost(fixed64, tag = "3")]
    pub(in crate::otlp) time: u64,
    #[prost(oneof = "Number", tags = "4, 6")]
    pub(in crate::otlp) value: Option<Number>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(in crate::otlp) enum Number {
    #[prost(double, tag = "4")]
    Real(f64),
    #[prost(sfixed64, tag = "6")]
    Whole(i64),
}

/// The distribution of a series.
#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct HistogramPoint {
    #[prost(message, repeated, tag = "9")]
    pub(in crate::otlp) attributes: Vec<KeyValue>,
    #[prost(fixed64, tag = "2")]
    pub(in crate::otlp) start_time: u64,
    #[prost(fixed64, tag = "3")]
    pub(in crate::otlp) time: u64,
    #[prost(fixed64, tag = "4")]
    pub(in crate::otlp) count: u64,
    #[prost(double, optional, tag = "5")]
    pub(in crate::otlp) sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    pub(in crate::otlp) bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    pub(in crate::otlp) explicit_bounds: Vec<f64>,
}
