//! Spans of calls: one for a method from its arrival to its answer, and one below it for the call
//! of the plugin.

use std::sync::Arc;

use plugin::{Call, CallError, Lent};

use super::Router;
use crate::lent::jobs::Jobs;
use crate::lent::traced::traced;
use crate::trace::{Span, SpanKind, TraceContext, Tracer};

/// Parts for spans, which a router has only while they are pushed.
pub(crate) struct Tracing {
    pub(crate) tracer: Arc<Tracer>,
    /// Jobs that keep the context of the span that requests them.
    pub(crate) jobs: Option<Arc<Jobs>>,
}

/// Tracing of the calls of a router.
#[derive(Default)]
pub(super) struct CallTracing {
    /// `None` if no spans are recorded.
    spans: Option<Tracing>,
    /// Field of payloads with the trace context of the caller, which plugins can pass on.
    field: Option<String>,
}

impl Router {
    /// Records spans of all calls from now on. `trace_field` is the field of payloads with the
    /// trace context of the caller.
    pub(crate) fn with_tracing(
        self,
        tracing: Option<Tracing>,
        trace_field: Option<String>,
    ) -> Router {
        Router { tracing: CallTracing { spans: tracing, field: trace_field }, ..self }
    }

    /// Begins the span of a method. `name` is the configured name of the method, which is `*` if
    /// the caller has chosen it.
    pub(super) fn begin_span(&self, name: &str, payload: &[u8]) -> Option<Span> {
        let tracer = &self.tracing.spans.as_ref()?.tracer;
        let parent = tracer.context_of(payload);
        let mut span = tracer.begin(parent.as_ref(), name, SpanKind::Server);
        span.set("rpc.method", name);
        Some(span)
    }

    /// Begins the span of a job, below the span that has requested it.
    pub(super) fn begin_job_span(&self, name: &str, traceparent: Option<&str>) -> Option<Span> {
        let tracer = &self.tracing.spans.as_ref()?.tracer;
        let parent = traceparent.and_then(TraceContext::parse);
        let mut span = tracer.begin(parent.as_ref(), "job", SpanKind::Consumer);
        span.set("behaviour.job", name);
        Some(span)
    }

    /// Begins the span of the call of a plugin below `parent`, and gives the call its context and
    /// handles that record spans below it. If no spans are recorded, the call gets the context of
    /// the caller.
    pub(super) fn begin_call_span(
        &self,
        parent: Option<&Span>,
        plugin: &str,
        call: &mut Call<'_>,
    ) -> Option<Arc<Span>> {
        let (Some(tracing), Some(parent)) = (&self.tracing.spans, parent) else {
            let field = self.tracing.field.as_deref();
            let context =
                field.and_then(|it| TraceContext::of_payload(call.payload.as_bytes(), it));
            call.trace_parent = context.map(|context| context.to_string());
            return None;
        };
        let mut span = parent.child("plugin", SpanKind::Internal);
        span.set("behaviour.plugin", plugin);
        span.set("behaviour.call", &*call.id);
        let span = Arc::new(span);
        call.trace_parent = Some(span.context().to_string());
        let lent: &Lent = &call.lent;
        call.lent = Arc::new(traced(lent, tracing.jobs.as_ref(), &span));
        Some(span)
    }
}

/// Ends the span of the call of a plugin.
pub(super) fn end_call_span(span: Option<Arc<Span>>, error: Option<&CallError>) {
    if let Some(span) = span {
        span.end(error.map(CallError::code));
    }
}
