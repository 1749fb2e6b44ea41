//! The device's twin: both sections as last seen, and the reports of plugins.
//!
//! The device's loop passes on what the hub sends, and sends the requests of this
//! module; plugins use it through [`plugin::TwinAccess`]. Reports are in the journal
//! until the hub has them. This module holds no connection.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::MutexGuard;
use plugin::{Document, HostError, TwinAccess, readable};
use protocol::id::{DeviceId, RequestId};
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

/// Time that the hub has to send the twin.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

pub(crate) struct Twin {
    device: DeviceId,
    ids: IdSequence,
    inner: Arc<Mirrored<TwinState>>,
    /// `None`: what is reported ends with the process.
    journal: Option<Arc<Journal>>,
    /// Notified when either section has changed.
    sightings: watch::Sender<()>,
}

struct TwinState {
    /// `None` until the hub has sent it for the first time.
    seen: Option<DeviceTwin>,
    fetch: Fetch,
    pause: Backoff,
    reports: Reports,
}

/// State of the request for the whole twin.
enum Fetch {
    /// The copy here is current.
    Done,
    /// To be asked for, not before this time.
    Due(Instant),
    Asked {
        rid: RequestId,
        until: Instant,
    },
}

/// A request to publish.
pub(crate) struct TwinRequest {
    pub(crate) topic: DeviceTopic,
    pub(crate) body: Vec<u8>,
}

impl Twin {
    /// Begins with what the journal has kept.
    pub(crate) fn new(device: DeviceId, journal: Option<Arc<Journal>>) -> Twin {
        let mut reports = Reports::new();
        reports.restore(journal.as_deref().map(Mirrored::<TwinState>::found).unwrap_or_default());
        if !reports.is_done() {
            info!(%device, "reports of the last run wait for the hub");
        }
        let inner = TwinState {
            seen: None,
            fetch: Fetch::Done,
            pause: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
            reports,
        };
        let inner = Mirrored::new(inner, journal.as_deref());
        let sightings = watch::Sender::new(());
        Twin { device, ids: IdSequence::new(), inner, journal, sightings }
    }

    /// Changes of the desired properties may have been missed: ask for all.
    pub(crate) fn connected(&self) {
        let mut inner = self.lock();
        inner.reports.connected();
        inner.fetch = Fetch::Due(Instant::now());
    }

    /// The connection is lost. `deliberate`: the hub may have closed it because of
    /// what it was sent.
    pub(crate) fn lost(&self, deliberate: bool) {
        let mut inner = self.lock();
        if let Some(plugin) = inner.reports.lost(deliberate) {
            error!(
                device = %self.device, plugin,
                "report dropped: the hub closed the connection each time it was sent"
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
            inner.fetch = Fetch::Asked { rid: rid.clone(), until: now + ANSWER_WAIT };
            return Some(TwinRequest { topic: DeviceTopic::TwinGet { rid }, body: Vec::new() });
        }
        let body = inner.reports.next(now, || self.ids.rid())?;
        let rid = inner.reports.rid().cloned().expect("the patch that was just given has one");
        Some(TwinRequest { topic: DeviceTopic::TwinReport { rid }, body })
    }

    /// The request could not be sent and will be asked for again.
    pub(crate) fn not_sent(&self) {
        let mut inner = self.lock();
        if let Fetch::Asked { .. } = inner.fetch {
            inner.fetch = Fetch::Due(Instant::now() + Duration::from_secs(1));
        }
    }

    /// Waits until [`Twin::next`] may have something.
    pub(crate) async fn ready(&self) {
        let due = self.lock().due();
        tokio::select! {
            () = self.inner.wake.notified() => {}
            () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
    }

    /// Changes when either half of the twin does, as the hub has it.
    pub(crate) fn sightings(&self) -> watch::Receiver<()> {
        self.sightings.subscribe()
    }

    /// Checks whether all reports have reached the hub.
    pub(crate) fn is_reported(&self) -> bool {
        self.lock().reports.is_done()
    }

    /// The desired properties have changed.
    pub(crate) fn desired_changed(&self, change: &DesiredPatch) {
        let mut inner = self.lock();
        let Some(seen) = &mut inner.seen else { return };
        if change.version == seen.desired_version + 1 {
            merge(&mut seen.desired, &change.patch);
            seen.desired_version = change.version;
            self.sightings.send_replace(());
        } else if change.version > seen.desired_version {
            // Changes between were missed.
            debug!(device = %self.device, version = change.version, "desired properties skipped versions");
            inner.fetch = Fetch::Due(Instant::now());
        }
    }

    /// The hub has answered a request.
    pub(crate) fn answered(&self, rid: &RequestId, status: u16, version: Option<u64>, body: &[u8]) {
        let now = Instant::now();
        let mut inner = self.lock();
        if matches!(&inner.fetch, Fetch::Asked { rid: asked, .. } if asked == rid) {
            inner.fetched(&self.device, status, body, now);
            self.sightings.send_replace(());
            return;
        }
        match inner.reports.answered(rid, status, version, || message(body), now) {
            Some(PatchOutcome::Taken { patch, version }) => {
                debug!(device = %self.device, version, "reported");
                if let Some(seen) = &mut inner.seen {
                    merge(&mut seen.reported, &patch);
                    seen.reported_version = version;
                    self.sightings.send_replace(());
                }
            }
            Some(PatchOutcome::Refused { status, message, plugin }) => {
                error!(device = %self.device, plugin, status, "the hub refused a report: {message}");
            }
            Some(PatchOutcome::Again { status }) => {
                warn!(device = %self.device, status, "report will be sent again");
            }
            None => {
                debug!(device = %self.device, %rid, status, "unexpected answer ignored");
            }
        }
        self.persist(&mut inner);
    }

    /// Has the journal write changes of the reports, if there is one.
    fn persist(&self, inner: &mut TwinState) {
        match &self.journal {
            Some(journal) if inner.reports.is_unsaved() => journal.nudge(),
            Some(_) => {}
            None => inner.reports.keep_nothing(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, TwinState> {
        self.inner.lock()
    }

    /// Returns when the report is on disk. It may have left by then: a report that
    /// the disk does not take is refused, but perhaps arrives.
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
            inner.reports.keep_nothing();
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

    fn read(
        &self,
        half: impl FnOnce(&DeviceTwin) -> (&Map<String, Value>, u64),
    ) -> Result<Document, HostError> {
        let inner = self.lock();
        let (body, version) = half(inner.seen.as_ref().ok_or(HostError::Offline)?);
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
    fn due(&self) -> Option<Instant> {
        let fetch = match &self.fetch {
            Fetch::Done => None,
            Fetch::Due(at) | Fetch::Asked { until: at, .. } => Some(*at),
        };
        match (fetch, self.reports.due()) {
            (Some(fetch), Some(report)) => Some(fetch.min(report)),
            (fetch, report) => fetch.or(report),
        }
    }

    fn fetched(&mut self, device: &DeviceId, status: u16, body: &[u8], now: Instant) {
        let problem = match status {
            200 => match DeviceTwin::parse(body) {
                Ok(twin) => {
                    debug!(%device, desired = twin.desired_version, "twin fetched");
                    self.seen = Some(twin);
                    self.fetch = Fetch::Done;
                    self.pause.reset();
                    return;
                }
                Err(error) => error.to_string(),
            },
            _ => message(body),
        };
        let wait = self.pause.next();
        warn!(%device, status, next_try = ?wait, "no twin from the hub: {problem}");
        self.fetch = Fetch::Due(now + wait);
    }
}

impl Fetch {
    fn is_due(&self, now: Instant) -> bool {
        matches!(self, Fetch::Due(at) | Fetch::Asked { until: at, .. } if *at <= now)
    }
}

/// The text in the body of an error.
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
            let (waiter, told) = oneshot::channel();
            self.accept(plugin, patch, Some(waiter)).await?;
            match tokio::time::timeout_at(until, told).await {
                Ok(Ok(what)) => what,
                // It stays queued: the wait ends, not the report.
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
