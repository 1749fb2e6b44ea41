//! Push of metrics, traces and logs by OTLP/HTTP, the protocol of OpenTelemetry, to a receiver such
//! as its collector.
//!
//! [`settings`] combines `[host.otlp]` with the standard environment variables. Without an
//! endpoint, nothing of this module runs. [`Push`] sends all metrics at an interval, and spans and
//! lines of the log in batches, as binary protobuf. One request of each is in flight at a time, and
//! none of its waits holds up a call. A receiver that fails is one line of the log, as is its
//! recovery. The lines of the push itself are not pushed.
//!
//! The numbers of counters are those since the start of the host (cumulative temporality), so a
//! lost request loses no counts. Spans and lines of a request that was given up are lost.
//!
//! Source: OpenTelemetry Protocol 1.5 and OpenTelemetry Protocol Exporter 1.40
//! (<https://opentelemetry.io/docs/specs/otlp/>).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prost::Message;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::config::OtlpSignal;
use crate::metrics::HostMetrics;
use crate::trace::{EndedSpan, Tracer};
use exporter::Exporter;
pub(crate) use logs::Lines;
use messages::Resource;
pub use settings::OtlpError;
pub(crate) use settings::{OtlpSettings, settings};

mod exporter;
mod logs;
mod messages;
mod points;
mod settings;
mod spans;

/// Time limit of the last export, after the host was asked to stop.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Maximum number of spans or lines in a request, and the time for which a smaller number waits for
/// more, as in OpenTelemetry's SDKs.
const BATCH: usize = 512;
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// The push of a host, which begins with [`Push::run`].
pub(crate) struct Push {
    settings: OtlpSettings,
    /// Spans to push, if traces are pushed.
    spans: Option<(Arc<Tracer>, Receiver<EndedSpan>)>,
    /// Lines to push, if logs are pushed.
    lines: Option<Lines>,
}

impl Push {
    /// Creates the push. `lines` are those since the start of the host.
    pub(crate) fn new(settings: OtlpSettings, lines: Lines) -> Push {
        let (sampler, field) = (settings.sampler, settings.traceparent_key.clone());
        let spans = settings.traces.is_some().then(|| Tracer::new(sampler, field));
        let lines = settings.logs.is_some().then_some(lines);
        Push { settings, spans, lines }
    }

    /// Returns the creator of spans, if traces are pushed.
    pub(crate) fn tracer(&self) -> Option<Arc<Tracer>> {
        self.spans.as_ref().map(|(tracer, _)| Arc::clone(tracer))
    }

    /// Pushes until `stopping`, and then once more. `device` is the id of the device.
    pub(crate) async fn run(
        self,
        device: String,
        metrics: Arc<HostMetrics>,
        stopping: CancellationToken,
    ) {
        let Push { settings, spans, lines } = self;
        let OtlpSettings { interval, resource, .. } = settings;
        let resource = Resource::new(resource, &device);
        let of_metrics = async {
            let Some(receiver) = settings.metrics else { return };
            info!(endpoint = %receiver.endpoint.uri(), ?interval, "metrics pushed by OTLP");
            let exporter = Exporter::new(receiver, OtlpSignal::Metrics);
            push_metrics(exporter, interval, &resource, &metrics, &stopping).await;
        };
        let of_spans = async {
            let (Some(receiver), Some((tracer, spans))) = (settings.traces, spans) else { return };
            info!(endpoint = %receiver.endpoint.uri(), "traces pushed by OTLP");
            let batches = Batches {
                entries: spans,
                dropped: || tracer.dropped(),
                message: |batch| spans::request(batch, &resource),
            };
            batches.push(Exporter::new(receiver, OtlpSignal::Traces), &stopping).await;
        };
        let of_lines = async {
            let (Some(receiver), Some(lines)) = (settings.logs, lines) else { return };
            info!(endpoint = %receiver.endpoint.uri(), "logs pushed by OTLP");
            let Lines { lines, queue, forwarding: _forwarding } = lines;
            let batches = Batches {
                entries: lines,
                dropped: || queue.dropped(),
                message: |batch| queue.request(batch, &resource),
            };
            batches.push(Exporter::new(receiver, OtlpSignal::Logs), &stopping).await;
        };
        logs::unlogged(async { tokio::join!(of_metrics, of_spans, of_lines) }).await;
    }
}

async fn push_metrics(
    mut exporter: Exporter,
    interval: Duration,
    resource: &Resource,
    metrics: &HostMetrics,
    stopping: &CancellationToken,
) {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sending = async |exporter: &mut Exporter| {
            exporter.send(&points::request(metrics, resource, SystemTime::now())).await;
        };
        tokio::select! {
            () = async { ticks.tick().await; sending(&mut exporter).await } => {}
            () = stopping.cancelled() => {
                timeout(LAST_EXPORT, sending(&mut exporter)).await.ok();
                return;
            }
        }
    }
}

/// Entries that are pushed in batches.
struct Batches<T, D, M> {
    entries: Receiver<T>,
    /// Function that returns the number of dropped entries.
    dropped: D,
    /// Function that returns the request with a batch.
    message: M,
}

impl<T, D: Fn() -> u64, M> Batches<T, D, M> {
    /// Pushes until `stopping`, and then the entries that are left.
    async fn push<R: Message>(mut self, mut exporter: Exporter, stopping: &CancellationToken)
    where
        M: Fn(Vec<T>) -> R,
    {
        let mut reported = 0;
        loop {
            let (batch, is_last) = self.next(stopping).await;
            let dropped = (self.dropped)();
            if dropped > reported {
                exporter.report_dropped(dropped);
                reported = dropped;
            }
            if !batch.is_empty() {
                let message = (self.message)(batch);
                tokio::select! {
                    () = exporter.send(&message) => {}
                    () = async { stopping.cancelled().await; sleep(LAST_EXPORT).await } => return,
                }
            } else if is_last {
                return;
            }
        }
    }

    /// Waits for entries. Returns `true` if there will be no more.
    async fn next(&mut self, stopping: &CancellationToken) -> (Vec<T>, bool) {
        let mut batch = Vec::new();
        let is_last = tokio::select! {
            received = self.entries.recv_many(&mut batch, BATCH) => received == 0,
            () = stopping.cancelled() => true,
        };
        if !is_last && batch.len() < BATCH {
            // More entries usually follow soon.
            tokio::select! {
                () = sleep(BATCH_DELAY) => {}
                () = stopping.cancelled() => {}
            }
        }
        while let Some(entry) =
            (batch.len() < BATCH).then(|| self.entries.try_recv().ok()).flatten()
        {
            batch.push(entry);
        }
        (batch, is_last)
    }
}
