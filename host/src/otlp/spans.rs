//! Spans as a message of OTLP.

use super::messages::traces::{
    ExportTraceRequest, ResourceSpans, STATUS_ERROR, ScopeSpans, SpanMessage, Status,
};
use super::messages::{InstrumentationScope, KeyValue, Resource, Value};
use super::points::nanoseconds;
use crate::trace::{EndedSpan, SpanKind, SpanValue};

/// Returns the request with these spans.
pub(super) fn request(spans: Vec<EndedSpan>, resource: &Resource) -> ExportTraceRequest {
    let spans = spans.into_iter().map(message).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(InstrumentationScope::host()), spans }];
    let resource = Some(resource.clone());
    ExportTraceRequest { resource_spans: vec![ResourceSpans { resource, scope_spans }] }
}

fn message(span: EndedSpan) -> SpanMessage {
    let EndedSpan { context, parent, name, kind, begun_at, elapsed, attributes, error } = span;
    let mut attributes: Vec<_> =
        attributes.into_iter().map(|(key, value)| attribute(key, value)).collect();
    let status = error.map(|code| {
        attributes.push(KeyValue::text("error.type", code));
        Status { code: STATUS_ERROR }
    });
    SpanMessage {
        trace_id: context.trace.to_vec(),
        span_id: context.span.to_vec(),
        parent_span_id: parent.map(|id| id.to_vec()).unwrap_or_default(),
        name,
        kind: match kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
            SpanKind::Producer => 4,
            SpanKind::Consumer => 5,
        },
        start_time: nanoseconds(begun_at),
        end_time: nanoseconds(begun_at + elapsed),
        attributes,
        status,
    }
}

fn attribute(key: &str, value: SpanValue) -> KeyValue {
    let value = match value {
        SpanValue::Text(text) => Value::Text(text),
        SpanValue::Whole(number) => Value::Whole(number),
    };
    KeyValue::new(key, value)
}
