//! Persistence of records in a redb file.
//!
//! [`Store::open`] returns all records. [`Store::write`] sends changes to the writer thread,
//! and [`PendingWrite::wait`] returns once they are on disk. Changes that arrive during a
//! commit share the next one, so that concurrent writers do not wait for each other's commits.
//!
//! The store does not interpret records. After a failed commit it writes nothing more, so the
//! file never contains a change without all earlier changes.

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

/// Capacity of the writer thread's queue.
const QUEUE_CAPACITY: usize = 1024;

/// Maximum number of writes in a commit.
const MAX_BATCH: usize = 256;

/// Layout of the file. Files with another layout are refused.
const LAYOUT: &str = "1";

/// Key of the record with the layout.
const LAYOUT_KEY: &str = "layout";

/// Kind of a record. Each kind has its own table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    About,
    Policy,
    Identity,
    Twin,
    Subscriptions,
    Enrollment,
    EnrollmentGroup,
    Registration,
    Configuration,
    Job,
    DeviceJob,
    Messages,
}

impl RecordKind {
    const ALL: [RecordKind; 12] = [
        RecordKind::About,
        RecordKind::Policy,
        RecordKind::Identity,
        RecordKind::Twin,
        RecordKind::Subscriptions,
        RecordKind::Enrollment,
        RecordKind::EnrollmentGroup,
        RecordKind::Registration,
        RecordKind::Configuration,
        RecordKind::Job,
        RecordKind::DeviceJob,
        RecordKind::Messages,
    ];

    fn name(self) -> &'static str {
        match self {
            RecordKind::About => "about",
            RecordKind::Policy => "policies",
            RecordKind::Identity => "identities",
            RecordKind::Twin => "twins",
            RecordKind::Subscriptions => "subscriptions",
            RecordKind::Enrollment => "enrollments",
            RecordKind::EnrollmentGroup => "enrollment-groups",
            RecordKind::Registration => "registrations",
            RecordKind::Configuration => "configurations",
            RecordKind::Job => "jobs",
            RecordKind::DeviceJob => "device-jobs",
            RecordKind::Messages => "messages",
        }
    }

    fn table(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

/// Displays the name of the table.
impl std::fmt::Display for RecordKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Change of a record. Without a value, the record is removed.
pub(super) struct RecordChange {
    pub(super) kind: RecordKind,
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
}

/// A record read from the file.
pub(super) struct Record {
    pub(super) kind: RecordKind,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
}

/// Failure to write changes. The reason is also logged.
#[derive(Debug, Clone, thiserror::Error)]
#[error("cannot write the hub's state to disk")]
pub(super) struct NotWritten(
    /// Error of the commit; `None` if an earlier commit has failed.
    #[source]
    Option<Arc<redb::Error>>,
);

impl NotWritten {
    /// Converts the failure to a [`StateError`] for the file at `path`.
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

/// Message to the writer thread with the changes of one [`Store::write`].
struct WriteRequest {
    changes: Vec<RecordChange>,
    done: SyncSender<Result<(), NotWritten>>,
}

/// An open state file and its writer thread.
pub(super) struct Store {
    path: PathBuf,
    // `None` only during drop, since the writer ends when the last sender is dropped.
    queue: Option<SyncSender<WriteRequest>>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens or creates the file in `dir` and reads all records.
    pub(super) fn open(dir: &Path) -> Result<(Store, Vec<Record>), StateError> {
        let no_directory = |source| StateError::Directory { path: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(no_directory)?;
        let path = dir.join(FILE_NAME);
        let cannot_open = |source| StateError::Open { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // The file contains the keys of all devices and policies.
        options.mode(0o600);
        drop(options.open(&path).map_err(cannot_open)?);

        // Without this check, redb would panic later if the file is corrupt.
        let mut builder = Database::builder();
        let database = builder.set_check_integrity_on_open(true).create(&path);
        let database = database.map_err(|error| StateError::of_redb(&path, &error.into()))?;
        let records = read(&database).map_err(|error| StateError::of_redb(&path, &error))?;
        let layout = records.iter().find(|record| record.kind == RecordKind::About);
        if let Some(layout) = layout.filter(|layout| layout.value != LAYOUT.as_bytes()) {
            let found = String::from_utf8_lossy(&layout.value).into_owned();
            return Err(StateError::Layout { path, found, known: LAYOUT });
        }

        let (queue, requests) = sync_channel(QUEUE_CAPACITY);
        let writer_path = path.clone();
        let writer = std::thread::Builder::new()
            .name("state-writer".into())
            .spawn(move || write_all(&database, &requests, &writer_path))
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

    /// Queues changes. The changes of a call form a transaction. Calls are written in order.
    pub(super) fn write(&self, changes: Vec<RecordChange>) -> PendingWrite {
        let (done, outcome) = sync_channel(1);
        if let Some(queue) = &self.queue {
            // If the writer has ended, this drops `done`, which ends the wait at once.
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

/// Changes that may not be on disk yet.
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
    // Creates missing tables, which could not be opened for reading.
    let writer = database.begin_write()?;
    for kind in RecordKind::ALL {
        writer.open_table(kind.table())?;
    }
    writer.commit()?;
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
            // Fails if the caller does not wait.
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
