//! The metrics of a host, from the parts of its device.

use std::sync::Arc;
use std::time::Instant;

use crate::device::Device;
use crate::journal::Journal;
use crate::lent::jobs::Jobs;
use crate::metrics::{HostMetrics, MetricSources, MetricsText};
use crate::plugins::Loader;

/// Returns a function that collects the metrics of a host whose device starts now.
pub(super) fn of(
    device: &Device,
    loader: Loader,
    jobs: Arc<Jobs>,
    journal: Arc<Journal>,
) -> MetricsText {
    let metrics = HostMetrics::new(MetricSources {
        router: Arc::clone(&device.router),
        loader,
        history: device.connection.history(),
        twin: Arc::clone(&device.twin),
        telemetry: Arc::clone(&device.telemetry),
        jobs,
        journal,
        started: Instant::now(),
    });
    Arc::new(move || metrics.text())
}
