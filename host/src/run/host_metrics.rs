//! The metrics of a host, from the parts of its device, and the push of them, of spans and of logs.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::device::Device;
use crate::journal::Journal;
use crate::lent::jobs::Jobs;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::RunError;
use crate::config::Config;
use crate::metrics::{HostMetrics, MetricSources};
use crate::otlp::{self, Lines, Push};
use crate::plugins::Loader;
use crate::supervision::Supervisor;

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
        of_plugins: Arc::clone(&device.plugin_metrics),
        journal,
        lost: Arc::default(),
        started: Instant::now(),
        started_at: SystemTime::now(),
    }))
}

/// Returns the push that the configuration and the environment demand, if there is one.
/// `lines` are those that the host has logged before.
pub(super) async fn push(config: &Config, lines: Lines) -> Result<Option<Push>, RunError> {
    let section = config.host.otlp.clone();
    let reading = spawn_blocking(move || otlp::settings(&section, |name| std::env::var(name).ok()));
    let settings = reading.await.expect("reading does not panic and is not cancelled")?;
    Ok(settings.map(|settings| Push::new(settings, lines)))
}

/// A running push. Dropping it ends the push.
pub(super) struct PushTask {
    task: AbortOnDropHandle<()>,
    stopping: CancellationToken,
}

impl PushTask {
    pub(super) fn start(
        push: Push,
        device: &Device,
        metrics: &Arc<HostMetrics>,
        supervisor: &Supervisor,
    ) -> PushTask {
        let stopping = CancellationToken::new();
        let push = push.run(device.client_id.clone(), Arc::clone(metrics), stopping.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(supervisor.watch("otlp", push)));
        PushTask { task, stopping }
    }

    /// Waits for the last export.
    pub(super) async fn finish(self) {
        self.stopping.cancel();
        self.task.await.ok();
    }
}
