//! Lines of the log as a message of OTLP, and the queue in which they wait for their export.
//!
//! The lines are those that the filter of the log selects, so the host's own ones contain neither
//! payloads nor secrets. The lines of the push itself are not queued, since each export would cause
//! the next one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use program::{EventFields, Forwarding, forward_log};
use serde_json::Value as Json;
use tracing::{Event, Level};

use super::messages::logs::{ExportLogsRequest, LogRecord, ResourceLogs, ScopeLogs};
use super::messages::{AnyValue, InstrumentationScope, KeyValue, KeyValueList, Resource, Value};
use super::points::nanoseconds;
use crate::batches::{Batches, Queue, queue};
use crate::trace::{self, TraceContext};

/// Maximum size of the lines that wait, in bytes of text, as for standard error.
const MAX_QUEUED_BYTES: usize = 1024 * 1024;

tokio::task_local! {
    /// Present while the push itself runs.
    static IS_PUSH: ();
}

/// Runs the push, whose lines are not queued.
pub(super) fn unlogged<F: Future>(push: F) -> impl Future<Output = F::Output> {
    IS_PUSH.scope((), push)
}

/// A line of the log that waits for its export.
#[derive(Debug)]
pub(super) struct QueuedLine {
    time: SystemTime,
    level: Level,
    target: &'static str,
    text: EventFields,
    /// Span of the call that has logged the line, if there is one.
    context: Option<TraceContext>,
    /// Size of the line in bytes, which is returned to the queue.
    bytes: usize,
}

/// The lines that wait, on the side of the threads that log.
#[derive(Debug)]
pub(super) struct LineQueue {
    lines: Queue<QueuedLine>,
    bytes: AtomicUsize,
}

/// The lines that wait, on the side of the push. Dropping it ends the forwarding of the log.
#[derive(Debug)]
pub(crate) struct Lines {
    pub(super) lines: Batches<QueuedLine>,
    pub(super) queue: Arc<LineQueue>,
    pub(super) forwarding: Forwarding,
}

impl Lines {
    /// Begins to queue the lines of this process. A host does so before its configuration says
    /// whether they are pushed, since the lines of a start name what is wrong.
    pub(crate) fn collect() -> Lines {
        let (queue, lines) = LineQueue::new();
        let receiver = Arc::clone(&queue);
        let forwarding = forward_log(Arc::new(move |event| receiver.push(event)));
        Lines { lines, queue, forwarding }
    }
}

impl LineQueue {
    fn new() -> (Arc<LineQueue>, Batches<QueuedLine>) {
        let (sender, lines) = queue();
        (Arc::new(LineQueue { lines: sender, bytes: AtomicUsize::new(0) }), lines)
    }

    /// Queues a line, or counts it if the queue is full.
    fn push(&self, event: &Event<'_>) {
        if IS_PUSH.try_with(|()| ()).is_ok() {
            return;
        }
        let text = EventFields::of(event);
        let bytes = text.message.len() + text.fields.iter().map(|(_, it)| size(it)).sum::<usize>();
        let is_full = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_QUEUED_BYTES;
        let metadata = event.metadata();
        let line = QueuedLine {
            time: SystemTime::now(),
            level: *metadata.level(),
            target: metadata.target(),
            text,
            context: trace::current(),
            bytes,
        };
        if is_full {
            self.lines.count_dropped();
        }
        if is_full || !self.lines.push(line) {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Returns the request with these lines, which no longer wait. Each target is the scope of its
    /// lines.
    pub(super) fn request(&self, lines: Vec<QueuedLine>, resource: &Resource) -> ExportLogsRequest {
        let bytes = lines.iter().map(|line| line.bytes).sum::<usize>();
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let mut scopes = BTreeMap::<_, Vec<_>>::new();
        for line in lines {
            scopes.entry(line.target).or_default().push(record(line));
        }
        let scope_logs = scopes.into_iter().map(|(target, log_records)| {
            let scope =
                InstrumentationScope { name: target.to_owned(), ..InstrumentationScope::host() };
            ScopeLogs { scope: Some(scope), log_records }
        });
        let resource = Some(resource.clone());
        let resource_logs = ResourceLogs { resource, scope_logs: scope_logs.collect() };
        ExportLogsRequest { resource_logs: vec![resource_logs] }
    }
}

/// Returns the size of a value, in bytes of text.
fn size(value: &Json) -> usize {
    match value {
        Json::String(text) => text.len(),
        Json::Object(members) => members.iter().map(|(key, it)| key.len() + size(it)).sum(),
        _ => size_of::<u64>(),
    }
}

fn record(line: QueuedLine) -> LogRecord {
    let QueuedLine { time, level, text: EventFields { message, fields }, context, .. } = line;
    let ids = context.map(|it| (it.trace.to_vec(), it.span.to_vec(), u32::from(it.sampled)));
    let (trace_id, span_id, flags) = ids.unwrap_or_default();
    LogRecord {
        time: nanoseconds(time),
        severity_number: match level {
            Level::TRACE => 1,
            Level::DEBUG => 5,
            Level::INFO => 9,
            Level::WARN => 13,
            Level::ERROR => 17,
        },
        severity_text: level.as_str().to_owned(),
        body: Some(AnyValue { value: Some(Value::Text(message)) }),
        attributes: fields.into_iter().map(|(key, it)| KeyValue::new(key, value(it))).collect(),
        flags,
        trace_id,
        span_id,
        observed_time: nanoseconds(time),
    }
}

fn value(value_of_field: Json) -> Value {
    match value_of_field {
        Json::String(text) => Value::Text(text),
        Json::Bool(flag) => Value::Flag(flag),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Whole(whole),
            (None, real) => Value::Real(real.unwrap_or(f64::NAN)),
        },
        Json::Object(members) => {
            let values = members.into_iter().map(|(key, it)| KeyValue::new(key, value(it)));
            Value::Object(KeyValueList { values: values.collect() })
        }
        other => Value::Text(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use tracing::{info, warn};
    use tracing_subscriber::Layer;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};

    use super::*;

    /// Layer that queues all lines.
    struct Queued(Arc<LineQueue>);

    impl<S: tracing::Subscriber> Layer<S> for Queued {
        fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
            self.0.push(event);
        }
    }

    fn queued(log: impl FnOnce()) -> (Arc<LineQueue>, Batches<QueuedLine>) {
        let (queue, lines) = LineQueue::new();
        let subscriber = tracing_subscriber::registry().with(Queued(Arc::clone(&queue)));
        tracing::subscriber::with_default(subscriber, log);
        (queue, lines)
    }

    #[test]
    fn a_line_has_its_severity_its_text_and_its_fields() {
        let (queue, mut lines) = queued(|| {
            let fields = r#"{"door":"front"}"#;
            warn!(target: "plugin", plugin = "fan", status = 504, ratio = 0.5, %fields, "too slow");
            info!(target: "other", "started");
        });
        let request = queue.request(lines.take(), &Resource::default());
        let scopes = &request.resource_logs[0].scope_logs;
        let names: Vec<_> = scopes.iter().map(|it| &*it.scope.as_ref().unwrap().name).collect();
        assert_eq!(names, ["other", "plugin"]);
        let record = &scopes[1].log_records[0];
        assert_eq!((record.severity_number, &*record.severity_text), (13, "WARN"));
        assert_eq!(record.body.as_ref().unwrap().value, Some(Value::Text("too slow".to_owned())));
        let door = KeyValueList { values: vec![KeyValue::text("door", "front")] };
        let expected = [
            KeyValue::text("plugin", "fan"),
            KeyValue::new("status", Value::Whole(504)),
            KeyValue::new("ratio", Value::Real(0.5)),
            KeyValue::new("fields", Value::Object(door)),
        ];
        assert_eq!(record.attributes, expected);
        assert!(record.trace_id.is_empty() && record.time > 0);
    }

    #[test]
    fn lines_beyond_the_bytes_of_the_queue_are_dropped_and_counted() {
        let long = "x".repeat(MAX_QUEUED_BYTES / 2);
        let (queue, mut lines) = queued(|| (0..3).for_each(|_| info!("{long}")));
        assert_eq!(lines.dropped(), 1);
        assert_eq!(queue.bytes.load(Ordering::Relaxed), MAX_QUEUED_BYTES);
        let lines = lines.take();
        assert_eq!(lines.len(), 2);
        queue.request(lines, &Resource::default());
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 0, "there is room again");
    }

    #[tokio::test]
    async fn lines_of_the_push_itself_are_not_queued() {
        let (queue, mut lines) = LineQueue::new();
        let subscriber = tracing_subscriber::registry().with(Queued(Arc::clone(&queue)));
        let _default = tracing::subscriber::set_default(subscriber);
        unlogged(async {
            warn!("push failed");
            tokio::task::yield_now().await;
            warn!("push failed again");
        })
        .await;
        info!("afterwards");
        let queued: Vec<_> = lines.take().into_iter().map(|line| line.text.message).collect();
        assert_eq!(queued, ["afterwards"]);
    }
}
