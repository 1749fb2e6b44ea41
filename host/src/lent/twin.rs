//! The device's twin: a copy of both sections, and the reports of plugins.
//!
//! The device loop forwards the hub's events to this module and sends its requests. Plugins
//! use it through [`plugin::TwinAccess`]. Reports stay in the journal until the hub has
//! accepted them. This module does not depend on the connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::MutexGuard;
use plugin::{Document, HostError, QueueMemory, TwinAccess, readable};
use protocol::id::RequestId;
use protocol::topic::DeviceTopic;
use protocol::twin::{DesiredPatch, DeviceTwin, merge};
use serde_json::{Map, Value};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::backoff::Backoff;
use crate::ids::IdSequence;
use crate::journal::{Journal, Mirrored, Pages, Persistent, RecordKind};
use reports::{PatchOutcome, ReportRecord, Reports, Waiter};

mod reports;

/// The time limit for the hub to answer a request for the twin.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// The twin of the device.
pub(crate) struct Twin {
    /// MQTT client id of the device or module, for the log.
    device: String,
    ids: IdSequence,
    inner: Arc<Mirrored<TwinState>>,
    /// `None` if pending reports are lost on a restart.
    journal: Option<Arc<Journal>>,
    /// Notified when either section has changed.
    changes: watch::Sender<()>,
    /// Notified after each connection.
    connections: watch::Sender<()>,
}

/// The state of a twin.
struct TwinState {
    /// The copy of the hub's twin. `None` until the hub has sent it for the first time.
    copy: Option<DeviceTwin>,
    fetch: Fetch,
    /// The waits between failed requests for the whole twin.
    pause: Backoff,
    reports: Reports,
}

/// The state of the request for the whole twin.
enum Fetch {
    /// No request, because the copy is current.
    Done,
    /// A request to send, with the earliest time.
    Due(Instant),
    /// A request in flight, with its time limit.
    InFlight { rid: RequestId, until: Instant },
}

/// A request to publish.
pub(crate) struct TwinRequest {
    pub(crate) topic: DeviceTopic,
    pub(crate) body: Vec<u8>,
}

impl Twin {
    /// Restores the reports in the journal.
    pub(crate) fn new(device: String, journal: Option<Arc<Journal>>) -> Twin {
        let mut reports = Reports::new();
        reports.restore(journal.as_deref().map(Mirrored::<TwinState>::found).unwrap_or_default());
        if !reports.is_done() {
            info!(device, "reports of the last run wait for the hub");
        }
        let inner = TwinState {
            copy: None,
            fetch: Fetch::Done,
            pause: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            reports,
        };
        let inner = Mirrored::new(inner, journal.as_deref());
        let (changes, connections) = (watch::Sender::new(()), watch::Sender::new(()));
        Twin { device, ids: IdSequence::new(), inner, journal, changes, connections }
    }

    /// Counts the memory of the reports from now on.
    pub(crate) fn count_in(&self, memory: &QueueMemory) {
        self.lock().reports.count_in(memory.clone());
    }

    /// Schedules a request for the whole twin on a new connection, because changes of the desired
    /// properties may have been missed.
    pub(crate) fn connected(&self) {
        let mut inner = self.lock();
        inner.reports.connected();
        inner.fetch = Fetch::Due(Instant::now());
        self.connections.send_replace(());
    }

    /// Records the loss of the connection. `deliberate` is `true` if the hub may have closed it
    /// because of a packet that it received.
    pub(crate) fn lost(&self, deliberate: bool) {
        let mut inner = self.lock();
        if let Some(plugin) = inner.reports.lost(deliberate) {
            error!(
                device = self.device,
                plugin, "report dropped: the hub closed the connection each time it was sent"
            );
            self.persist(&mut inner);
        }
        inner.fetch = Fetch::Done;
    }

    /// Returns the next request to send.
    pub(crate) fn next(&self) -> Option<TwinRequest> {
        let now = Instant::now();
        let mut inner = self.lock();
        if inner.fetch.is_due(now) {
            let rid = self.ids.rid();
            inner.fetch = Fetch::InFlight { rid: rid.clone(), until: now + ANSWER_WAIT };
            return Some(TwinRequest { topic: DeviceTopic::TwinGet { rid }, body: Vec::new() });
        }
        let body = inner.reports.next(now, || self.ids.rid())?;
        let rid = inner.reports.rid().cloned().expect("the patch is in flight");
        Some(TwinRequest { topic: DeviceTopic::TwinReport { rid }, body })
    }

    /// Schedules a retry of the request that [`Twin::next`] returned last, because it was not
    /// sent.
    pub(crate) fn not_sent(&self) {
        let mut inner = self.lock();
        if let Fetch::InFlight { .. } = inner.fetch {
            inner.fetch = Fetch::Due(Instant::now() + Duration::from_secs(1));
        }
    }

    /// Waits until [`Twin::next`] may return a request.
    pub(crate) async fn ready(&self) {
        let due = self.lock().due();
        tokio::select! {
            () = self.inner.wake.notified() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }

    /// Returns a receiver that is notified when either section has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Returns a receiver that is notified after each connection to the hub.
    pub(crate) fn connections(&self) -> watch::Receiver<()> {
        self.connections.subscribe()
    }

    /// Returns `true` if the hub has answered all reports.
    pub(crate) fn is_reported(&self) -> bool {
        self.lock().reports.is_done()
    }

    /// Returns the number of reports that the hub has not answered.
    pub(crate) fn pending_reports(&self) -> usize {
        self.lock().reports.pending()
    }

    /// Merges a change of the desired properties into the copy.
    pub(crate) fn desired_changed(&self, change: &DesiredPatch) {
        let mut inner = self.lock();
        let Some(copy) = &mut inner.copy else { return };
        if change.version == copy.desired_version + 1 {
            merge(&mut copy.desired, &change.patch);
            copy.desired_version = change.version;
            self.changes.send_replace(());
        } else if change.version > copy.desired_version {
            // The changes in between were missed.
            debug!(
                device = self.device,
                version = change.version,
                "desired properties skipped versions"
            );
            inner.fetch = Fetch::Due(Instant::now());
        }
    }

    /// Handles the hub's answer to a request.
    pub(crate) fn answered(&self, rid: &RequestId, status: u16, version: Option<u64>, body: &[u8]) {
        let now = Instant::now();
        let mut inner = self.lock();
        if matches!(&inner.fetch, Fetch::InFlight { rid: in_flight, .. } if in_flight == rid) {
            inner.fetched(&self.device, status, body, now);
            self.changes.send_replace(());
            return;
        }
        match inner.reports.answered(rid, status, version, || message(body), now) {
            Some(PatchOutcome::Accepted { patch, version }) => {
                debug!(device = self.device, version, "reported");
                if let Some(copy) = &mut inner.copy {
                    merge(&mut copy.reported, &patch);
                    copy.reported_version = version;
                    self.changes.send_replace(());
                }
            }
            Some(PatchOutcome::Refused { status, message, plugin }) => {
                error!(device = self.device, plugin, status, "the hub refused a report: {message}");
            }
            Some(PatchOutcome::Retry { status }) => {
                warn!(device = self.device, status, "report will be sent again");
            }
            None => {
                debug!(device = self.device, %rid, status, "unexpected answer ignored");
            }
        }
        self.persist(&mut inner);
    }

    /// Notifies the journal of changed reports. Without a journal, discards the changes.
    fn persist(&self, inner: &mut TwinState) {
        match &self.journal {
            Some(journal) if inner.reports.is_unsaved() => journal.nudge(),
            Some(_) => {}
            None => inner.reports.discard_unsaved(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, TwinState> {
        self.inner.lock()
    }

    /// Adds a report, and returns once it is persisted. It can be sent before that: a report that
    /// is rejected because the journal was not written may still reach the hub.
    async fn accept(
        &self,
        plugin: &str,
        patch: Map<String, Value>,
        waiter: Option<Waiter>,
    ) -> Result<(), HostError> {
        reports::check(&patch)?;
        let Some(journal) = &self.journal else {
            let mut inner = self.lock();
            inner.reports.push(plugin, patch, waiter)?;
            inner.reports.discard_unsaved();
            self.inner.wake.notify_one();
            return Ok(());
        };
        let name = plugin.to_owned();
        let (inner, undoing) = (Arc::clone(&self.inner), Arc::clone(&self.inner));
        let push = move |_: &Pages<'_>| {
            let accepted = inner.lock().reports.push(&name, patch, waiter)?;
            inner.wake.notify_one();
            Ok(accepted)
        };
        let undo = move |accepted| undoing.lock().reports.undo(accepted);
        journal.write_for(plugin, push, undo).await?;
        Ok(())
    }

    /// Returns one section of the copy.
    fn read(
        &self,
        section: impl FnOnce(&DeviceTwin) -> (&Map<String, Value>, u64),
    ) -> Result<Document, HostError> {
        let inner = self.lock();
        let (body, version) = section(inner.copy.as_ref().ok_or(HostError::Offline)?);
        let body = serde_json::to_string(body).expect("a twin is JSON");
        Ok(Document { body, version })
    }
}

impl Persistent for TwinState {
    const KIND: RecordKind = RecordKind::Report;
    type Record = ReportRecord;
    type Found = (u64, ReportRecord);

    fn unsaved(&mut self) -> Vec<(Vec<u8>, Option<ReportRecord>)> {
        let unsaved = self.reports.unsaved().into_iter();
        unsaved.map(|(number, record)| (number.to_be_bytes().to_vec(), record)).collect()
    }

    fn saved(&mut self, written: bool) {
        self.reports.saved(written);
    }

    fn lost(&mut self) {
        self.reports.lost_from_disk();
    }

    fn write(record: &ReportRecord) -> Vec<u8> {
        serde_json::to_vec(record).expect("a record is JSON")
    }

    fn read(key: &[u8], value: &[u8]) -> Option<(u64, ReportRecord)> {
        let number = u64::from_be_bytes(key.try_into().ok()?);
        Some((number, serde_json::from_slice(value).ok()?))
    }
}

impl TwinState {
    /// Returns the time of the next request or retry.
    fn due(&self) -> Option<Instant> {
        let fetch = match &self.fetch {
            Fetch::Done => None,
            Fetch::Due(at) | Fetch::InFlight { until: at, .. } => Some(*at),
        };
        match (fetch, self.reports.due()) {
            (Some(fetch), Some(report)) => Some(fetch.min(report)),
            (fetch, report) => fetch.or(report),
        }
    }

    /// Handles the answer to a request for the whole twin.
    fn fetched(&mut self, device: &str, status: u16, body: &[u8], now: Instant) {
        let problem = match status {
            200 => match DeviceTwin::parse(body) {
                Ok(twin) => {
                    debug!(device, desired = twin.desired_version, "twin fetched");
                    self.copy = Some(twin);
                    self.fetch = Fetch::Done;
                    self.pause.reset();
                    return;
                }
                Err(error) => error.to_string(),
            },
            _ => message(body),
        };
        let wait = self.pause.next();
        warn!(device, status, next_try = ?wait, "no twin from the hub: {problem}");
        self.fetch = Fetch::Due(now + wait);
    }
}

impl Fetch {
    fn is_due(&self, now: Instant) -> bool {
        matches!(self, Fetch::Due(at) | Fetch::InFlight { until: at, .. } if *at <= now)
    }
}

/// Returns the message in the body of an error, escaped for the log.
fn message(body: &[u8]) -> String {
    let json: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = json.get("message").and_then(Value::as_str).unwrap_or("no reason given");
    readable(text).into_owned()
}

impl TwinAccess for Twin {
    fn report<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(self.accept(plugin, patch, None))
    }

    fn report_and_wait<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>> {
        Box::pin(async move {
            let until = Instant::now() + timeout;
            let (waiter, outcome) = oneshot::channel();
            self.accept(plugin, patch, Some(waiter)).await?;
            match tokio::time::timeout_at(until, outcome).await {
                Ok(Ok(outcome)) => outcome,
                // The report stays in the queue after a timeout.
                _ if self.lock().reports.is_connected() => Err(HostError::Timeout),
                _ => Err(HostError::Offline),
            }
        })
    }

    fn desired(&self) -> Result<Document, HostError> {
        self.read(|twin| (&twin.desired, twin.desired_version))
    }

    fn reported(&self) -> Result<Document, HostError> {
        self.read(|twin| (&twin.reported, twin.reported_version))
    }
}

#[cfg(test)]
mod tests;
