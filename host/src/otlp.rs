//! Push of metrics and traces by OTLP/HTTP, the protocol of OpenTelemetry, to a receiver such as its
//! collector.
//!
//! [`settings`] combines `[host.otlp]` with the standard environment variables. Without an
//! endpoint, nothing of this module runs. [`Push`] sends all metrics at an interval and spans in
//! batches, as binary protobuf. One request of each is in flight at a time, and none of its waits holds up a call. A receiver
//! that fails is one line of the log, as is its recovery.
//!
//! The numbers of counters are those since the start of the host (cumulative temporality), so a
//! lost request loses no counts. Spans of a request that was given up are lost.
//!
//! Source: OpenTelemetry Protocol 1.5 and OpenTelemetry Protocol Exporter 1.40
//! (<https://opentelemetry.io/docs/specs/otlp/>).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::OtlpEndpoint;
use crate::metrics::HostMetrics;
use crate::trace::{EndedSpan, Tracer};
use exporter::Exporter;
use messages::Resource;
pub use settings::OtlpError;
pub(crate) use settings::{OtlpSettings, settings};

mod exporter;
mod messages;
mod points;
mod settings;
mod spans;

/// Time limit of the last export, after the host was asked to stop.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Maximum number of spans in a request, and the time for which a smaller number waits for more,
/// as in OpenTelemetry's SDKs.
const BATCH: usize = 512;
const BATCH_DELAY: Duration = Duration::from_secs(1);

/// The push of a host, which begins with [`Push::run`].
pub(crate) struct Push {
    settings: OtlpSettings,
    /// Spans to push, if traces are pushed.
    spans: Option<(Arc<Tracer>, Receiver<EndedSpan>)>,
}

impl Push {
    pub(crate) fn new(settings: OtlpSettings) -> Push {
        let (sampler, field) = (settings.sampler, settings.traceparent_key.clone());
        let spans = settings.traces.is_some().then(|| Tracer::new(sampler, field));
        Push { settings, spans }
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
        let Push { settings, spans } = self;
        let OtlpSettings { exporter, interval, resource, .. } = settings;
        let resource = Resource::new(resource, &device);
        let of_metrics = async {
            let Some(endpoint) = &settings.metrics else { return };
            info!(endpoint = %endpoint.uri(), ?interval, "metrics pushed by OTLP");
            let exporter = Exporter::new(exporter.clone(), "metrics");
            push_metrics(exporter, endpoint, interval, &resource, &metrics, &stopping).await;
        };
        let of_spans = async {
            let (Some(endpoint), Some((tracer, ended))) = (&settings.traces, spans) else { return };
            info!(endpoint = %endpoint.uri(), "traces pushed by OTLP");
            let exporter = Exporter::new(exporter.clone(), "traces");
            push_spans(exporter, endpoint, &resource, &tracer, ended, &stopping).await;
        };
        tokio::join!(of_metrics, of_spans);
    }
}

async fn push_metrics(
    mut exporter: Exporter,
    endpoint: &OtlpEndpoint,
    interval: Duration,
    resource: &Resource,
    metrics: &HostMetrics,
    stopping: &CancellationToken,
) {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let sending = async |exporter: &mut Exporter| {
            exporter.send(endpoint, &points::request(metrics, resource, SystemTime::now())).await;
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

async fn push_spans(
    mut exporter: Exporter,
    endpoint: &OtlpEndpoint,
    resource: &Resource,
    tracer: &Tracer,
    mut ended: Receiver<EndedSpan>,
    stopping: &CancellationToken,
) {
    let mut reported = 0;
    loop {
        let mut batch = Vec::new();
        let is_last = tokio::select! {
            received = ended.recv_many(&mut batch, BATCH) => received == 0,
            () = stopping.cancelled() => true,
        };
        if !is_last && batch.len() < BATCH {
            // More spans usually follow soon.
            tokio::select! {
                () = sleep(BATCH_DELAY) => {}
                () = stopping.cancelled() => {}
            }
        }
        while let Some(span) = (batch.len() < BATCH).then(|| ended.try_recv().ok()).flatten() {
            batch.push(span);
        }
        let dropped = tracer.dropped();
        if dropped > reported {
            warn!(dropped, "spans dropped: they were not pushed fast enough");
            reported = dropped;
        }
        if !batch.is_empty() {
            let message = spans::request(batch, resource);
            tokio::select! {
                () = exporter.send(endpoint, &message) => {}
                () = async { stopping.cancelled().await; sleep(LAST_EXPORT).await } => return,
            }
        } else if is_last {
            return;
        }
    }
}
