//! The writing thread: takes the waiting changes, commits them with one sync, and
//! notifies each caller.
//!
//! After a failed commit the file is reopened, as its format demands, and written
//! again: a full disk need not stay full.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{error, info};

use super::Source;
use super::pages::{Broken, Pages};
use super::rates::CommitRates;
use super::store::Store;
use crate::supervision::Pulse;

/// Time that a change without a waiting caller may wait for a commit to share: each
/// sync wears a flash card.
const PATIENCE: Duration = Duration::from_millis(500);

/// Wait before the next attempt after a failed commit that no caller waits for.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Time that a commit may take before the writer counts as stuck. A slow flash card stalls
/// for seconds, and a file that is opened anew is checked whole.
const LONGEST_COMMIT: Duration = Duration::from_secs(120);

/// A change that someone waits for.
pub(super) trait Work: Send {
    /// Returns the plugin that has asked for it, if one has.
    fn plugin(&self) -> Option<&str>;
    fn run(&mut self, pages: &Pages<'_>) -> Result<(), Broken>;
    fn ended(self: Box<Self>, written: Result<(), &str>);
}

pub(super) enum WriterCommand {
    Work(Box<dyn Work>),
    /// A source has changes to persist.
    Nudge,
    /// Persist what is left, and end.
    Close,
}

pub(super) struct Writer {
    store: Arc<Store>,
    messages: Receiver<WriterCommand>,
    sources: Arc<Mutex<Vec<Arc<dyn Source>>>>,
    nudged: Arc<AtomicBool>,
    /// Commits have failed since the last good one.
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

    pub(super) fn run(mut self) {
        // Time of the next commit that no caller waits for.
        let mut due: Option<Instant> = None;
        let mut last = false;
        while !last {
            let mut together = Vec::new();
            match self.next(due) {
                Ok(WriterCommand::Work(work)) => together.push(work),
                Ok(WriterCommand::Nudge) => {
                    due.get_or_insert_with(|| Instant::now() + PATIENCE);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(WriterCommand::Close) | Err(RecvTimeoutError::Disconnected) => last = true,
            }
            last = last || self.gather(&mut together);
            // Before the sources are asked: what changes later nudges again.
            self.nudged.store(false, Ordering::Release);
            let written = self.write(&mut together);
            due = written.is_err().then(|| Instant::now() + TRY_AGAIN);
            if self.store.take_lost() {
                self.sources.lock().iter().for_each(|source| source.lost());
                due = Some(Instant::now());
            }
            tell(together, written.as_ref().map_err(|broken| broken.text.as_str()).copied());
        }
    }

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

    /// Takes the changes that share the next commit: those that wait already, and those
    /// that arrive until the rate of commits allows another. Returns `true` if the journal
    /// is to be closed, which delays nothing.
    fn gather(&self, together: &mut Vec<Box<dyn Work>>) -> bool {
        let mut delayed = false;
        loop {
            let turn = self.rates.wait_of_host();
            if !turn.is_zero() && !std::mem::replace(&mut delayed, true) {
                self.rates.host_delayed();
            }
            let interval = self.beat(Duration::ZERO);
            let wait = interval.map_or(turn, |interval| turn.min(interval));
            // The permits of the changes bound their number.
            match self.messages.recv_timeout(wait) {
                Ok(WriterCommand::Work(work)) => together.push(work),
                Ok(WriterCommand::Nudge) => {}
                Ok(WriterCommand::Close) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) if turn.is_zero() => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Gives a sign of life that holds for `limit` longer than usual. Returns the interval
    /// of these signs, if there is a watchdog.
    fn beat(&self, limit: Duration) -> Option<Duration> {
        let pulse = self.pulse.lock();
        pulse.as_ref().and_then(|pulse| {
            pulse.allow(limit);
            pulse.interval()
        })
    }

    fn write(&mut self, together: &mut [Box<dyn Work>]) -> Result<(), Broken> {
        self.beat(LONGEST_COMMIT);
        let sources = self.sources.lock().clone();
        let mut changed = !together.is_empty();
        let written = self.store.commit(|pages| {
            for work in &mut *together {
                work.run(pages)?;
            }
            for source in &sources {
                changed |= source.save(pages)?;
            }
            Ok(changed)
        });
        if changed {
            self.rates.committed(together.iter().filter_map(|work| work.plugin()));
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

/// Notifies the callers. After a failed commit the last change is undone first.
fn tell(mut together: Vec<Box<dyn Work>>, written: Result<(), &str>) {
    if written.is_err() {
        together.reverse();
    }
    for work in together {
        work.ended(written);
    }
}
