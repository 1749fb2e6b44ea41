//! The metrics of a host, from the parts of its device.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::device::Device;
use crate::journal::Journal;
use crate::lent::jobs::Jobs;
use crate::metrics::{HostMetrics, MetricSources};
use crate::plugins::Loader;

/// Returns the metrics of a host whose device starts now.
pub(super) fn of(
    device: &Device,
    loader: Loader,
    jobs: Arc<Jobs>,
    journal: Arc<Journal>,
) -> Arc<HostMetrics> {
    Arc::new(HostMetrics::new(MetricSources {
        router: Arc::clone(&device.router),
        loader,
        history: device.connection.history(),
        twin: Arc::clone(&device.twin),
        telemetry: Arc::clone(&device.telemetry),
        jobs,
        journal,
        started: Instant::now(),
        started_at: SystemTime::now(),
    }))
}
