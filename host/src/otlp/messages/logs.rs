//! Messages of logs.

use prost::Message;

use super::{AnyValue, InstrumentationScope, KeyValue, Resource};

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct ExportLogsRequest {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::otlp) resource_logs: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    pub(in crate::otlp) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::otlp) scope_logs: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct ScopeLogs {
    #[prost(message, optional, tag = "1")]
    pub(in crate::otlp) scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::otlp) log_records: Vec<LogRecord>,
}

/// A line of the log. Times are nanoseconds of Unix time.
#[derive(Clone, PartialEq, Message)]
pub(in crate::otlp) struct LogRecord {
    #[prost(fixed64, tag = "1")]
    pub(in crate::otlp) time: u64,
    #[prost(int32, tag = "2")]
    pub(in crate::otlp) severity_number: i32,
    #[prost(string, tag = "3")]
    pub(in crate::otlp) severity_text: String,
    #[prost(message, optional, tag = "5")]
    pub(in crate::otlp) body: Option<AnyValue>,
    #[prost(message, repeated, tag = "6")]
    pub(in crate::otlp) attributes: Vec<KeyValue>,
    #[prost(fixed32, tag = "8")]
    pub(in crate::otlp) flags: u32,
    #[prost(bytes = "vec", tag = "9")]
    pub(in crate::otlp) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub(in crate::otlp) span_id: Vec<u8>,
    #[prost(fixed64, tag = "11")]
    pub(in crate::otlp) observed_time: u64,
}
