//! Messages of traces.

use prost::Message;

use super::{InstrumentationScope, KeyValue, Resource};

/// Code of the status of a span that failed.
pub(in crate::otlp) const STATUS_ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct ExportTraceRequest {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::otlp) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(in crate::otlp) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::otlp) scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(in crate::otlp) scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::otlp) spans: Vec<SpanMessage>,
}

/// A span. Times are nanoseconds of Unix time.
#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct SpanMessage {
    #[prost(bytes = "vec", tag = "1")]
    pub(in crate::otlp) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::otlp) span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(in crate::otlp) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(in crate::otlp) name: String,
    #[prost(int32, tag = "6")]
    pub(in crate::otlp) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(in crate::otlp) start_time: u64,
    #[prost(fixed64, tag = "8")]
    pub(in crate::otlp) end_time: u64,
    #[prost(message, repeated, tag = "9")]
    pub(in crate::otlp) attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub(in crate::otlp) status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct Status {
    #[prost(int32, tag = "3")]
    pub(in crate::otlp) code: i32,
}
