//! Traces of calls: spans, the sampling of traces, and the context that a caller passes on.
//!
//! A [`Tracer`] exists only while spans are pushed. [`within`] connects the lines that a call logs
//! with its span. The tracer passes ended spans to a bounded queue, and
//! drops and counts those that do not fit, so a receiver that fails never delays a call.
//!
//! Source: W3C Trace Context, and OpenTelemetry's specification of the trace SDK, "Sampling".

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::batches::{Batches, Queue, queue};
pub(crate) use context::TraceContext;
pub(crate) use sampler::Sampler;

mod context;
mod sampler;

tokio::task_local! {
    /// Context of the span in whose work this task is, if there is one.
    static CURRENT: Option<TraceContext>;
}

/// Runs `work` within a span, whose context is the [`current`] one for everything that `work` does
/// in its own task.
pub(crate) fn within<F: Future>(span: Option<&Span>, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(span.map(|span| span.context), work)
}

/// Does `work` within a span, like [`within`], at once.
pub(crate) fn enter<T>(context: Option<TraceContext>, work: impl FnOnce() -> T) -> T {
    CURRENT.sync_scope(context, work)
}

/// Returns the context of the span in whose work the caller is, if there is one.
pub(crate) fn current() -> Option<TraceContext> {
    CURRENT.try_with(|context| *context).ok().flatten()
}

/// Creator of spans.
#[derive(Debug)]
pub(crate) struct Tracer {
    sampler: Sampler,
    /// Field of the payload with the context of the caller; `None` if none is read.
    field: Option<String>,
    ended: Queue<EndedSpan>,
}

/// Role of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanKind {
    /// Step inside the host.
    Internal,
    /// Answer to a request.
    Server,
    /// Request to another program.
    Client,
    /// Message or job for later.
    Producer,
    /// Run of such a job.
    Consumer,
}

/// Value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SpanValue {
    Text(String),
    Whole(i64),
}

/// An attribute of a span, by OpenTelemetry's semantic conventions where they have one.
pub(crate) type SpanAttribute = (&'static str, SpanValue);

/// A span in progress. It is recorded when [`Span::end`] is called.
#[derive(Debug)]
pub(crate) struct Span {
    tracer: Arc<Tracer>,
    context: TraceContext,
    parent: Option<[u8; 8]>,
    name: String,
    kind: SpanKind,
    begun_at: SystemTime,
    begun: Instant,
    attributes: Vec<SpanAttribute>,
}

/// A span that has ended.
#[derive(Debug)]
pub(crate) struct EndedSpan {
    pub(crate) context: TraceContext,
    /// Id of the parent span; `None` for the root of a trace.
    pub(crate) parent: Option<[u8; 8]>,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) begun_at: SystemTime,
    pub(crate) elapsed: Duration,
    pub(crate) attributes: Vec<SpanAttribute>,
    /// Code of the failure; `None` for success.
    pub(crate) error: Option<String>,
}

impl Tracer {
    /// Creates a tracer, and the receiver of its ended spans.
    pub(crate) fn new(
        sampler: Sampler,
        field: Option<String>,
    ) -> (Arc<Tracer>, Batches<EndedSpan>) {
        let (ended, receiver) = queue();
        (Arc::new(Tracer { sampler, field, ended }), receiver)
    }

    /// Returns the context that a caller has put into the configured field of a payload.
    pub(crate) fn context_of(&self, payload: &[u8]) -> Option<TraceContext> {
        TraceContext::of_payload(payload, self.field.as_ref()?)
    }

    /// Begins a span that continues the trace of `parent`, or else a new trace.
    pub(crate) fn begin(
        self: &Arc<Self>,
        parent: Option<&TraceContext>,
        name: impl Into<String>,
        kind: SpanKind,
    ) -> Span {
        let context = match parent {
            Some(parent) => {
                let sampled = self.sampler.samples(&parent.trace, Some(parent.sampled));
                TraceContext { sampled, ..parent.child() }
            }
            None => {
                let root = TraceContext::root();
                TraceContext { sampled: self.sampler.samples(&root.trace, None), ..root }
            }
        };
        self.span(context, parent.map(|parent| parent.span), name.into(), kind)
    }

    fn span(
        self: &Arc<Self>,
        context: TraceContext,
        parent: Option<[u8; 8]>,
        name: String,
        kind: SpanKind,
    ) -> Span {
        let (begun_at, begun) = (SystemTime::now(), Instant::now());
        let (tracer, attributes) = (Arc::clone(self), Vec::new());
        Span { tracer, context, parent, name, kind, begun_at, begun, attributes }
    }
}

impl Span {
    /// Returns the context for work that this span causes.
    pub(crate) fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Begins a span below this one.
    pub(crate) fn child(&self, name: impl Into<String>, kind: SpanKind) -> Span {
        let (context, parent) = (self.context.child(), Some(self.context.span));
        self.tracer.span(context, parent, name.into(), kind)
    }

    /// Adds an attribute.
    pub(crate) fn set(&mut self, key: &'static str, value: impl Into<SpanValue>) {
        if self.context.sampled {
            self.attributes.push((key, value.into()));
        }
    }

    /// Ends and records the span. `error` is the code of a failure.
    pub(crate) fn end(&self, error: Option<&str>) {
        if !self.context.sampled {
            return;
        }
        let ended = EndedSpan {
            context: self.context,
            parent: self.parent,
            name: self.name.clone(),
            kind: self.kind,
            begun_at: self.begun_at,
            elapsed: self.begun.elapsed(),
            attributes: self.attributes.clone(),
            error: error.map(str::to_owned),
        };
        self.tracer.ended.push(ended);
    }
}

impl From<&str> for SpanValue {
    fn from(text: &str) -> SpanValue {
        SpanValue::Text(text.to_owned())
    }
}

impl From<i32> for SpanValue {
    fn from(number: i32) -> SpanValue {
        SpanValue::Whole(number.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn tracer(sampler: Sampler) -> (Arc<Tracer>, Batches<EndedSpan>) {
        Tracer::new(sampler, Some("traceparent".to_owned()))
    }

    #[test]
    fn a_span_continues_the_trace_of_the_caller() {
        let (tracer, mut ended) = tracer(Sampler::default());
        let payload = format!("{{\"traceparent\":\"{PARENT}\"}}");
        let parent = tracer.context_of(payload.as_bytes()).unwrap();
        let span = tracer.begin(Some(&parent), "call", SpanKind::Server);
        span.child("report", SpanKind::Producer).end(Some("offline"));
        span.end(None);
        let [report, call] = ended.take().try_into().unwrap();
        assert_eq!((call.parent, call.context.trace), (Some(parent.span), parent.trace));
        assert_eq!(report.parent, Some(call.context.span));
        assert_eq!((report.error.as_deref(), call.error), (Some("offline"), None));
    }

    #[test]
    fn a_payload_without_a_valid_context_has_none() {
        let (tracer, _ended) = tracer(Sampler::default());
        for payload in
            ["", "[]", "{\"traceparent\":1}", "{\"traceparent\":\"00-1\"}", "{\"other\":1}"]
        {
            assert_eq!(tracer.context_of(payload.as_bytes()), None, "{payload}");
        }
    }

    #[test]
    fn a_span_that_is_not_sampled_is_not_recorded_but_passed_on() {
        let (tracer, mut ended) = tracer("always_off".parse().unwrap());
        let span = tracer.begin(None, "call", SpanKind::Server);
        assert!(span.context().to_string().ends_with("-00"));
        span.child("report", SpanKind::Producer).end(None);
        span.end(None);
        assert!(ended.take().is_empty());
    }
}
