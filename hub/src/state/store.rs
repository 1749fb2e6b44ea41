//! Persisted records of the hub, in one redb file.
//!
//! [`Store::open`] returns all records. [`Store::write`] hands changes to the
//! one thread that writes; [`PendingWrite::wait`] returns once they are on disk.
//! Changes that arrive during a commit share the next one, so that many writers
//! do not each wait for the disk in turn.
//!
//! The store does not interpret records. After a failed commit nothing more is
//! written: the file must not fall behind what callers were promised.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use tracing::error;

use super::error::StateError;

const FILE_NAME: &str = "hub.redb";

/// Writes that may wait for the writer thread.
const QUEUE: usize = 1024;

/// Writes that share one commit at most.
const MAX_BATCH: usize = 256;

/// Layout of the file; a file with another number is refused.
const LAYOUT: &str = "1";

/// Key of the layout's record.
const LAYOUT_KEY: &str = "layout";

/// Kind of a record; each kind has a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    About,
    Policy,
    Identity,
    Twin,
    Subscriptions,
}

impl RecordKind {
    const ALL: [RecordKind; 5] = [
        RecordKind::About,
        RecordKind::Policy,
        RecordKind::Identity,
        RecordKind::Twin,
        RecordKind::Subscriptions,
    ];

    fn name(self) -> &'static str {
        match self {
            RecordKind::About => "about",
            RecordKind::Policy => "policies",
            RecordKind::Identity => "identities",
            RecordKind::Twin => "twins",
            RecordKind::Subscriptions => "subscriptions",
        }
    }

    fn table(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

/// The name of the kind's table.
impl std::fmt::Display for RecordKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Change of one record; without a value the record is removed.
pub(super) struct RecordChange {
    pub(super) kind: RecordKind,
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
}

/// Record as read from the file.
pub(super) struct Record {
    pub(super) kind: RecordKind,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
}

/// Failure to write changes; the log has the reason as well.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot write the hub's state to disk")]
pub(super) struct NotWritten(
    /// The failed commit, or nothing if an earlier one has failed.
    #[source]
    Option<Arc<redb::Error>>,
);

impl NotWritten {
    /// Returns this failure as the reason not to open the state at `path`.
    pub(super) fn at_open(&self, path: &Path) -> StateError {
        match &self.0 {
            Some(error) => StateError::of_redb(path, error),
            None => StateError::Io {
                path: path.to_owned(),
                source: std::io::Error::other("an earlier write has failed"),
            },
        }
    }
}

/// Changes of one [`Store::write`], on their way to the writer thread.
struct WriteRequest {
    changes: Vec<RecordChange>,
    done: SyncSender<Result<(), NotWritten>>,
}

/// Open state file and its writer thread.
pub(super) struct Store {
    path: PathBuf,
    // Taken on drop: the writer ends when its queue has no sender left.
    queue: Option<SyncSender<WriteRequest>>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens the file in `dir`, or creates it, and reads all of it.
    pub(super) fn open(dir: &Path) -> Result<(Store, Vec<Record>), StateError> {
        let no_directory = |source| StateError::Directory { path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(no_directory)?;
        let path = dir.join(FILE_NAME);
        let cannot_open = |source| StateError::Open { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // The file holds the keys of all devices and policies.
        options.mode(0o600);
        drop(options.open(&path).map_err(cannot_open)?);

        // Without the check redb trusts the file, and panics later if it is damaged.
        let mut builder = Database::builder();
        let database = builder.set_check_integrity_on_open(true).create(&path);
        let database = database.map_err(|error| StateError::of_redb(&path, &error.into()))?;
        let records = read(&database).map_err(|error| StateError::of_redb(&path, &error))?;
        let layout = records.iter().find(|record| record.kind == RecordKind::About);
        if let Some(layout) = layout.filter(|layout| layout.value != LAYOUT.as_bytes()) {
            let found = String::from_utf8_lossy(&layout.value).into_owned();
            return Err(StateError::Layout { path, found, known: LAYOUT });
        }

        let (queue, requests) = sync_channel(QUEUE);
        let of_writer = path.clone();
        let writer = std::thread::Builder::new()
            .name("state-writer".into())
            .spawn(move || write_all(&database, &requests, &of_writer))
            .map_err(cannot_open)?;
        let store = Store { path: path.clone(), queue: Some(queue), writer: Some(writer) };
        let layout = RecordChange {
            kind: RecordKind::About,
            key: LAYOUT_KEY.into(),
            value: Some(LAYOUT.into()),
        };
        store.write(vec![layout]).wait().map_err(|failed| failed.at_open(&path))?;
        Ok((store, records))
    }

    /// Returns the path of the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Queues changes. The changes of one call are one transaction, and calls
    /// are written in the order they were made.
    pub(super) fn write(&self, changes: Vec<RecordChange>) -> PendingWrite {
        let (done, outcome) = sync_channel(1);
        if let Some(queue) = &self.queue {
            // Without a writer `done` is dropped here, which ends the wait at once.
            let _ = queue.send(WriteRequest { changes, done });
        }
        PendingWrite { outcome }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// Changes not yet on disk.
#[must_use]
pub(super) struct PendingWrite {
    outcome: Receiver<Result<(), NotWritten>>,
}

impl PendingWrite {
    /// Waits until the changes are on disk.
    pub(super) fn wait(self) -> Result<(), NotWritten> {
        self.outcome.recv().unwrap_or(Err(NotWritten(None)))
    }
}

fn read(database: &Database) -> Result<Vec<Record>, redb::Error> {
    // A table that was never written to cannot be opened for reading.
    let begin = database.begin_write()?;
    for kind in RecordKind::ALL {
        begin.open_table(kind.table())?;
    }
    begin.commit()?;
    let reader = database.begin_read()?;
    let mut records = Vec::new();
    for kind in RecordKind::ALL {
        for entry in reader.open_table(kind.table())?.iter()? {
            let (key, value) = entry?;
            records.push(Record { kind, key: key.value().into(), value: value.value().into() });
        }
    }
    Ok(records)
}

fn write_all(database: &Database, requests: &Receiver<WriteRequest>, path: &Path) {
    while let Ok(first) = requests.recv() {
        let batch: Vec<WriteRequest> =
            std::iter::once(first).chain(requests.try_iter().take(MAX_BATCH - 1)).collect();
        let outcome = commit(database, &batch).map_err(|error| {
            error!(file = %path.display(), %error, "state not written; no further writes until a restart");
            NotWritten(Some(Arc::new(error)))
        });
        for request in batch {
            // The caller may have gone.
            let _ = request.done.send(outcome.clone());
        }
        if outcome.is_err() {
            return;
        }
    }
}

fn commit(database: &Database, batch: &[WriteRequest]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for change in batch.iter().flat_map(|request| &request.changes) {
        let mut table = transaction.open_table(change.kind.table())?;
        match &change.value {
            Some(value) => drop(table.insert(change.key.as_str(), value.as_slice())?),
            None => drop(table.remove(change.key.as_str())?),
        }
    }
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests;
