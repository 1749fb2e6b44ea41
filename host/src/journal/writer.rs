//! Writer thread: commits queued changes in batches with one sync each, and notifies the
//! callers.
//!
//! After a failed commit, the file is reopened, as redb requires. Changes of sources are
//! retried, because a full disk may have space again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{error, info};

use super::Source;
use super::pages::{DiskError, Pages};
use super::rates::CommitRates;
use super::store::Store;
use crate::supervision::Pulse;

/// Delay of a commit without a waiting caller, so that it can share a sync. Each sync wears
/// flash memory.
const DELAY: Duration = Duration::from_millis(500);

/// Delay before a failed commit is retried, if no other change arrives.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Time limit for a commit, after which the writer counts as stuck. Slow flash memory can stall
/// for seconds, and reopening checks the whole file.
const LONGEST_COMMIT: Duration = Duration::from_secs(120);

/// Change whose caller waits for the commit.
pub(super) trait Work: Send {
    /// Returns the plugin that requested the change, or `None` for the host.
    fn plugin(&self) -> Option<&str>;
    /// Makes the change.
    fn run(&mut self, pages: &Pages<'_>) -> Result<(), DiskError>;
    /// Notifies the caller of the outcome of the commit.
    fn ended(self: Box<Self>, written: Result<(), &str>);
}

/// Command to the writer.
pub(super) enum WriterCommand {
    /// Persist a change.
    Work(Box<dyn Work>),
    /// Persist the changes of the sources.
    Nudge,
    /// Persist the pending changes and end.
    Close,
}

/// State of the writer thread.
pub(super) struct Writer {
    store: Arc<Store>,
    messages: Receiver<WriterCommand>,
    sources: Arc<Mutex<Vec<Arc<dyn Source>>>>,
    nudged: Arc<AtomicBool>,
    /// `true` if the last commit failed.
    failing: bool,
    pulse: Arc<Mutex<Option<Pulse>>>,
    rates: Arc<CommitRates>,
}

impl Writer {
    pub(super) fn new(
        store: Arc<Store>,
        messages: Receiver<WriterCommand>,
        sources: Arc<Mutex<Vec<Arc<dyn Source>>>>,
        nudged: Arc<AtomicBool>,
        pulse: Arc<Mutex<Option<Pulse>>>,
        rates: Arc<CommitRates>,
    ) -> Writer {
        Writer { store, messages, sources, nudged, failing: false, pulse, rates }
    }

    /// Runs until the journal is closed.
    pub(super) fn run(mut self) {
        // Time of the next commit without a waiting caller.
        let mut due: Option<Instant> = None;
        let mut last = false;
        while !last {
            let mut batch = Vec::new();
            match self.next(due) {
                Ok(WriterCommand::Work(work)) => batch.push(work),
                Ok(WriterCommand::Nudge) => {
                    due.get_or_insert_with(|| Instant::now() + DELAY);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(WriterCommand::Close) | Err(RecvTimeoutError::Disconnected) => last = true,
            }
            last = last || self.gather(&mut batch);
            // Cleared before the sources are saved, so that a later change requests another
            // commit.
            self.nudged.store(false, Ordering::Release);
            let written = self.write(&mut batch);
            due = written.is_err().then(|| Instant::now() + RETRY_AFTER);
            if self.store.take_lost() {
                self.sources.lock().iter().for_each(|source| source.lost());
                due = Some(Instant::now());
            }
            notify(batch, written.as_ref().map_err(|broken| broken.text.as_str()).copied());
        }
    }

    /// Waits for the next command, at most until `due`. Sends heartbeats meanwhile.
    fn next(&self, due: Option<Instant>) -> Result<WriterCommand, RecvTimeoutError> {
        loop {
            let interval = self.beat(Duration::ZERO);
            let wait = due.map(|due| due.saturating_duration_since(Instant::now()));
            let next = match wait.into_iter().chain(interval).min() {
                None => self.messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => self.messages.recv_timeout(wait),
            };
            let is_due = due.is_some_and(|due| due <= Instant::now());
            if next.as_ref().err() != Some(&RecvTimeoutError::Timeout) || is_due {
                return next;
            }
        }
    }

    /// Collects the changes of the next commit: the queued ones, and those that arrive until
    /// the rate limit allows the commit. Returns `true`, without a delay, if the journal is
    /// being closed.
    fn gather(&self, batch: &mut Vec<Box<dyn Work>>) -> bool {
        let mut delayed = false;
        loop {
            let turn = self.rates.wait_of_host();
            if !turn.is_zero() && !std::mem::replace(&mut delayed, true) {
                self.rates.host_delayed();
            }
            let interval = self.beat(Duration::ZERO);
            let wait = interval.map_or(turn, |interval| turn.min(interval));
            // The permits of queued changes limit the size of the batch.
            match self.messages.recv_timeout(wait) {
                Ok(WriterCommand::Work(work)) => batch.push(work),
                Ok(WriterCommand::Nudge) => {}
                Ok(WriterCommand::Close) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) if turn.is_zero() => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Sends a heartbeat that stays valid for `limit` longer than usual. Returns the heartbeat
    /// interval, or `None` without a watchdog.
    fn beat(&self, limit: Duration) -> Option<Duration> {
        let pulse = self.pulse.lock();
        pulse.as_ref().and_then(|pulse| {
            pulse.allow(limit);
            pulse.interval()
        })
    }

    /// Commits a batch of changes together with those of the sources.
    fn write(&mut self, batch: &mut [Box<dyn Work>]) -> Result<(), DiskError> {
        self.beat(LONGEST_COMMIT);
        let sources = self.sources.lock().clone();
        let mut changed = !batch.is_empty();
        let written = self.store.commit(|pages| {
            for work in &mut *batch {
                work.run(pages)?;
            }
            for source in &sources {
                changed |= source.save(pages)?;
            }
            Ok(changed)
        });
        if changed && written.is_ok() {
            self.store.committed();
        }
        if changed {
            self.rates.committed(batch.iter().filter_map(|work| work.plugin()));
        }
        for source in &sources {
            source.saved(written.is_ok());
        }
        let file = self.store.file();
        match &written {
            Ok(()) if self.failing => info!(file = %file.display(), "journal writable again"),
            Err(reason) if !self.failing => {
                error!(
                    file = %file.display(), %reason, hint = "make room on the disk",
                    "journal not writable: reports and jobs of plugins are refused"
                );
            }
            _ => {}
        }
        self.failing = written.is_err();
        written
    }
}

/// Notifies the callers. If the commit failed, undoes the changes in reverse order first.
fn notify(mut batch: Vec<Box<dyn Work>>, written: Result<(), &str>) {
    if written.is_err() {
        batch.reverse();
    }
    for work in batch {
        work.ended(written);
    }
}
