//! State in memory whose records are mirrored in the journal.
//!
//! [`Mirrored`] combines a lock, a wake-up for the task that processes the state, and the code
//! that persists and restores its records.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tracing::error;

use super::{DiskError, Journal, Pages, RecordKind, Source};

/// State in memory that tracks which of its records are not yet persisted.
pub(crate) trait Persistent: Send + 'static {
    /// Kind of the records.
    const KIND: RecordKind;

    /// Record to persist.
    type Record: Send;

    /// Record that was read from the journal.
    type Found;

    /// Returns the records that are not yet persisted, by key; `None` for a removed record.
    /// They are in flight until [`Persistent::saved`] is called.
    fn unsaved(&mut self) -> Vec<(Vec<u8>, Option<Self::Record>)>;

    /// Receives the outcome of the commit of the records in flight.
    fn saved(&mut self, written: bool);

    /// Marks all records as not persisted, because the journal has lost them.
    fn lost(&mut self);

    /// Serialises a record. The caller does not hold the lock.
    fn write(record: &Self::Record) -> Vec<u8>;

    /// Parses a record, or returns `None` if it is malformed.
    fn read(key: &[u8], value: &[u8]) -> Option<Self::Found>;
}

/// State behind a lock, and its mirror in the journal.
pub(crate) struct Mirrored<M> {
    machine: Mutex<M>,
    /// Notified when the state may need processing.
    pub(crate) wake: Notify,
}

impl<M: Persistent> Mirrored<M> {
    /// Wraps the state and registers it with the journal. Without a journal, the state is not
    /// persisted.
    pub(crate) fn new(machine: M, journal: Option<&Journal>) -> Arc<Mirrored<M>> {
        let mirrored = Arc::new(Mirrored { machine: Mutex::new(machine), wake: Notify::new() });
        if let Some(journal) = journal {
            journal.keep(Arc::clone(&mirrored) as _);
        }
        mirrored
    }

    /// Reads the records of the last run. Unreadable records are logged and skipped.
    pub(crate) fn found(journal: &Journal) -> Vec<M::Found> {
        let what = M::KIND.name();
        let records = journal.read(|view| view.all(M::KIND)).unwrap_or_else(|error| {
            error!(%error, "{what} of the last run cannot be read");
            Vec::new()
        });
        let all = records.len();
        let read = records.into_iter().filter_map(|(key, value)| M::read(&key, &value));
        let read: Vec<_> = read.collect();
        if read.len() < all {
            error!(left_out = all - read.len(), "malformed {what} of the last run left out");
        }
        read
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, M> {
        self.machine.lock()
    }
}

impl<M: Persistent> Source for Mirrored<M> {
    fn save(&self, pages: &Pages<'_>) -> Result<bool, DiskError> {
        let unsaved = self.lock().unsaved();
        for (key, record) in &unsaved {
            match record {
                Some(record) => pages.put(M::KIND, key, &M::write(record))?,
                None => pages.remove(M::KIND, key)?,
            }
        }
        Ok(!unsaved.is_empty())
    }

    fn saved(&self, written: bool) {
        self.lock().saved(written);
    }

    fn lost(&self) {
        self.lock().lost();
    }
}
