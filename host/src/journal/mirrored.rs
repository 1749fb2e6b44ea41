//! A machine in memory, and its records on disk: one lock, one word that it has
//! something to do, one way to put its records down and to find them again.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tracing::error;

use super::{Broken, Journal, Pages, RecordKind, Source};

/// Data that is kept in memory and knows which of its records are not yet persisted.
pub(crate) trait Persistent: Send + 'static {
    /// Kind of its records.
    const KIND: RecordKind;

    /// A record to persist.
    type Record: Send;

    /// A record found in the journal: a key and its value.
    type Found;

    /// Returns the keys whose records are not yet persisted, with the new record if
    /// there is one. They count as in flight from then on.
    fn unsaved(&mut self) -> Vec<(Vec<u8>, Option<Self::Record>)>;

    /// Receives the outcome of the records that [`Persistent::unsaved`] returned last.
    fn saved(&mut self, written: bool);

    /// Counts every record as not yet persisted: those on disk are gone.
    fn lost(&mut self);

    /// Serialises a record. Not called under the lock.
    fn write(record: &Self::Record) -> Vec<u8>;

    /// The other way; `None` if it makes no sense.
    fn read(key: &[u8], value: &[u8]) -> Option<Self::Found>;
}

/// A machine, for those who work with it and for the journal.
pub(crate) struct Mirrored<M> {
    machine: Mutex<M>,
    /// It may have something to do.
    pub(crate) wake: Notify,
}

impl<M: Persistent> Mirrored<M> {
    /// Wraps a machine. The journal keeps its records from then on; with `None` they
    /// end with the process.
    pub(crate) fn new(machine: M, journal: Option<&Journal>) -> Arc<Mirrored<M>> {
        let mirrored = Arc::new(Mirrored { machine: Mutex::new(machine), wake: Notify::new() });
        if let Some(journal) = journal {
            journal.keep(Arc::clone(&mirrored) as _);
        }
        mirrored
    }

    /// The records of the last run. What cannot be read is left out, and said.
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
    fn save(&self, pages: &Pages<'_>) -> Result<bool, Broken> {
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
