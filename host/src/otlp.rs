//! Push of metrics by OTLP/HTTP, the protocol of OpenTelemetry, to a receiver such as its
//! collector.
//!
//! [`settings`] combines `[host.otlp]` with the standard environment variables. Without an
//! endpoint, nothing of this module runs. [`push`] sends all metrics at an interval, as binary
//! protobuf. One request is in flight at a time, and none of its waits holds up a call. A receiver
//! that fails is one line of the log, as is its recovery.
//!
//! The numbers of counters are those since the start of the host (cumulative temporality), so a
//! lost request loses no counts.
//!
//! Source: OpenTelemetry Protocol 1.5 and OpenTelemetry Protocol Exporter 1.40
//! (<https://opentelemetry.io/docs/specs/otlp/>).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::metrics::HostMetrics;
use exporter::Exporter;
use messages::Resource;
pub use settings::OtlpError;
pub(crate) use settings::{OtlpSettings, settings};

mod exporter;
mod messages;
mod points;
mod settings;

/// Time limit of the last export, after the host was asked to stop.
const LAST_EXPORT: Duration = Duration::from_secs(2);

/// Pushes metrics at an interval until `stopping`, and then once more. `device` is the id of the
/// device.
pub(crate) async fn push(
    settings: OtlpSettings,
    device: String,
    metrics: Arc<HostMetrics>,
    stopping: CancellationToken,
) {
    let OtlpSettings { exporter, metrics: Some(endpoint), interval, resource } = settings else {
        return;
    };
    let resource = Resource::new(resource, &device);
    let endpoint = &endpoint;
    info!(endpoint = %endpoint.uri(), ?interval, "metrics pushed by OTLP");
    let mut exporter = Exporter::new(exporter, "metrics");
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let message = || points::request(&metrics, &resource, SystemTime::now());
        tokio::select! {
            () = async {
                ticks.tick().await;
                exporter.send(endpoint, &message()).await;
            } => {}
            () = stopping.cancelled() => {
                timeout(LAST_EXPORT, exporter.send(endpoint, &message())).await.ok();
                return;
            }
        }
    }
}
