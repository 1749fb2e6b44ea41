//! Push of metrics, traces and logs by OTLP/HTTP, the protocol of OpenTelemetry, to a receiver such
//! as its collector.
//!
//! [`settings`] combines `[host.otlp]` with the standard environment variables. Without an
//! endpoint, nothing of this module runs. [`Push`] sends all metrics at an interval, and spans and
//! lines of the log in batches, as binary protobuf. One request of each is in flight at a time, and
//! none of its waits holds up a call. Each reason for which a receiver fails is one line of the log,
//! as is its recovery. The lines of the push itself are not pushed.
//!
//! The numbers of counters are those since the start of the host (cumulative temporality), so a
//! lost request loses no counts. Spans and lines of a request that was given up are lost.
//!
//! Source: OpenTelemetry Protocol 1.5 and OpenTelemetry Protocol Exporter 1.40
//! (<https://opentelemetry.io/docs/specs/otlp/>).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use prost::Message;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::batches::Batches;
use crate::config::OtlpSignal;
use crate::metrics::HostMetrics;
use crate::trace::{EndedSpan, Tracer};
use exporter::Exporter;
pub(crate) use logs::Lines;
use messages::Resource;
pub use settings::{FieldProblem, OtlpError};
pub(crate) use settings::{OtlpSettings, check, settings};

mod exporter;
mod logs;
mod messages;
mod points;
mod settings;
mod spans;

/// Time limit of the last exports of all signals together, after the host was asked to stop.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Time between two lines of the log about dropped entries.
const DROPPED_INTERVAL: Duration = Duration::from_secs(60);

/// The push of a host, which begins with [`Push::run`].
pub(crate) struct Push {
    settings: OtlpSettings,
    /// Spans to push, if traces are pushed.
    spans: Option<(Arc<Tracer>, Batches<EndedSpan>)>,
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
        let lost = metrics.lost();
        let exporter =
            |receiver, signal: OtlpSignal| Exporter::new(receiver, signal, Arc::clone(&lost));
        let of_metrics = async {
            let Some(receiver) = settings.metrics else { return };
            info!(endpoint = %receiver.endpoint.uri(), ?interval, "metrics pushed by OTLP");
            let exporter = exporter(receiver, OtlpSignal::Metrics);
            push_metrics(exporter, interval, &resource, &metrics, &stopping).await;
        };
        let of_spans = async {
            let (Some(receiver), Some((_, batches))) = (settings.traces, spans) else { return };
            info!(endpoint = %receiver.endpoint.uri(), "traces pushed by OTLP");
            let spans = Entries { batches, message: |batch| spans::request(batch, &resource) };
            spans.push(exporter(receiver, OtlpSignal::Traces), &stopping).await;
        };
        let of_lines = async {
            let (Some(receiver), Some(lines)) = (settings.logs, lines) else { return };
            info!(endpoint = %receiver.endpoint.uri(), "logs pushed by OTLP");
            let Lines { lines, queue, forwarding: _forwarding } = lines;
            let message = |batch| queue.request(batch, &resource);
            let lines = Entries { batches: lines, message };
            lines.push(exporter(receiver, OtlpSignal::Logs), &stopping).await;
        };
        let pushing = logs::unlogged(async { tokio::join!(of_metrics, of_spans, of_lines) });
        until_stopped(Box::pin(pushing), &stopping).await;
    }
}

/// Waits for the end of the push, but after `stopping` only for [`LAST_EXPORT`].
async fn until_stopped<T>(pushing: impl Future<Output = T>, stopping: &CancellationToken) {
    tokio::select! {
        _ = pushing => {}
        () = async { stopping.cancelled().await; sleep(LAST_EXPORT).await } => {}
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
            let message = points::request(metrics, resource, SystemTime::now());
            exporter.send(&message, message.metrics()).await;
        };
        tokio::select! {
            () = async { ticks.tick().await; sending(&mut exporter).await } => {}
            () = stopping.cancelled() => return sending(&mut exporter).await,
        }
    }
}

/// Entries that are pushed in batches.
struct Entries<T, M> {
    batches: Batches<T>,
    /// Function that returns the request with a batch.
    message: M,
}

impl<T, M> Entries<T, M> {
    /// Pushes until `stopping`, and then the entries that are left.
    async fn push<R: Message>(mut self, mut exporter: Exporter, stopping: &CancellationToken)
    where
        M: Fn(Vec<T>) -> R,
    {
        let (mut dropped, mut counted) = (DroppedEntries::default(), 0);
        loop {
            let (batch, is_last) = self.batches.next(stopping).await;
            let all_dropped = self.batches.dropped();
            exporter.count_lost(all_dropped - std::mem::replace(&mut counted, all_dropped));
            if let Some(count) = dropped.due(all_dropped, Instant::now()) {
                exporter.report_dropped(count);
            }
            if !batch.is_empty() {
                let entries = batch.len();
                exporter.send(&(self.message)(batch), entries).await;
            } else if is_last {
                return;
            }
        }
    }
}

/// Reports of dropped entries, so that a queue which stays full is no line for each batch.
#[derive(Default)]
struct DroppedEntries {
    /// The reported number and the time of the report.
    last: Option<(u64, Instant)>,
}

impl DroppedEntries {
    /// Returns the number of dropped entries, if it has to be reported now.
    fn due(&mut self, count: u64, now: Instant) -> Option<u64> {
        let is_due = match self.last {
            None => count > 0,
            Some((reported, at)) => count > reported && now - at >= DROPPED_INTERVAL,
        };
        is_due.then(|| {
            self.last = Some((count, now));
            count
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_entries_are_reported_at_once_and_then_once_a_minute() {
        let (mut dropped, start) = (DroppedEntries::default(), Instant::now());
        let mut due = |count, seconds| dropped.due(count, start + Duration::from_secs(seconds));
        assert_eq!(due(0, 0), None);
        assert_eq!(due(3, 1), Some(3));
        assert_eq!((due(5, 2), due(9, 60)), (None, None));
        assert_eq!(due(9, 61), Some(9));
        assert_eq!(due(9, 500), None, "no more are dropped");
        assert_eq!(due(10, 501), Some(10));
    }

    /// Each of several batches waits for a receiver that does not answer.
    #[tokio::test(start_paused = true)]
    async fn the_last_exports_of_all_signals_take_two_seconds_together() {
        let stopping = CancellationToken::new();
        let pushing = async {
            for _batch in 0..10 {
                stopping.cancelled().await;
                sleep(LAST_EXPORT - Duration::from_millis(100)).await;
            }
        };
        let start = Instant::now();
        stopping.cancel();
        until_stopped(async { tokio::join!(pushing, std::future::pending::<()>()) }, &stopping)
            .await;
        assert_eq!(start.elapsed(), LAST_EXPORT);
        until_stopped(async {}, &stopping).await;
        assert_eq!(start.elapsed(), LAST_EXPORT, "no wait without a request");
    }
}
