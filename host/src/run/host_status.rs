//! The status of a host for the operator, collected from its parts.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::control::HostStatus;
use crate::device::Device;
use crate::lent::jobs::Jobs;
use crate::plugins::Loader;

/// Returns a function that collects the status of a host whose device starts now.
pub(super) fn of(
    device: &Device,
    loader: Loader,
    jobs: Arc<Jobs>,
) -> Arc<dyn Fn() -> HostStatus + Send + Sync> {
    let (id, started) = (device.client_id.to_string(), Instant::now());
    let (history, router) = (device.connection.history(), Arc::clone(&device.router));
    let (twin, telemetry) = (Arc::clone(&device.twin), Arc::clone(&device.telemetry));
    Arc::new(move || {
        let connection = history.view();
        let (memory_bytes, memory_limit_bytes) = loader.memory();
        HostStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_seconds: started.elapsed().as_secs(),
            device: id.clone(),
            hub: connection.hub,
            connected: connection.connected,
            since: format!("{:.3}", connection.since),
            reason: connection.reason,
            token_expires: connection.token_expires.map(|time| format!("{time:.0}")),
            certificate_expires: connection.certificate.map(|it| format!("{:.0}", it.until)),
            certificate_warning: connection
                .certificate
                .and_then(|it| it.warning(Timestamp::now()))
                .map(str::to_owned),
            calls: router.running(),
            pending_reports: twin.pending_reports(),
            pending_messages: telemetry.pending(),
            pending_jobs: jobs.pending(),
            memory_bytes,
            memory_limit_bytes,
            ..HostStatus::default()
        }
    })
}
