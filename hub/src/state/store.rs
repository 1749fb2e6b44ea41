//! What outlives the process: records of the hub in one redb file.
//!
//! [`Store::open`] gives back all records there are. [`Store::write`] hands
//! changes to the one thread that writes; [`Written::wait`] returns once they are
//! on disk. Changes that come in while a commit is under way share the next one,
//! so that many writers do not each wait for the disk in turn.
//!
//! It does not know what is in a record. After a failed commit nothing more is
//! written: the file must not fall behind what callers were told.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition};
use tracing::error;

use super::error::StateError;

const FILE_NAME: &str = "hub.redb";

// Changes that may wait for the writer, and the most that share one commit.
const QUEUE: usize = 1024;
const MAX_BATCH: usize = 256;

/// The layout of the file; a file with another number is not read.
const LAYOUT: &[u8] = b"1";

/// A kind of record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    About,
    Policy,
    Identity,
    Twin,
    Subscriptions,
}

impl Kind {
    const ALL: [Kind; 5] =
        [Kind::About, Kind::Policy, Kind::Identity, Kind::Twin, Kind::Subscriptions];

    fn table(self) -> TableDefinition<'static, &'static str, &'static [u8]> {
        TableDefinition::new(match self {
            Kind::About => "about",
            Kind::Policy => "policies",
            Kind::Identity => "identities",
            Kind::Twin => "twins",
            Kind::Subscriptions => "subscriptions",
        })
    }
}

/// A record to be put, or, without a value, removed.
pub(super) struct Change {
    pub(super) kind: Kind,
    pub(super) key: String,
    pub(super) value: Option<Vec<u8>>,
}

/// A record as it was found.
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
}

/// The changes could not be written; the log says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("state could not be written to disk")]
pub(super) struct NotWritten;

struct Work {
    changes: Vec<Change>,
    done: SyncSender<Result<(), NotWritten>>,
}

/// The open file.
pub(super) struct Store {
    path: PathBuf,
    // Taken on drop: the writer ends when nobody can send to it any more.
    queue: Option<SyncSender<Work>>,
    writer: Option<JoinHandle<()>>,
}

impl Store {
    /// Opens or makes the file in `dir` and reads all of it.
    pub(super) fn open(dir: &Path) -> Result<(Store, Vec<Record>), StateError> {
        let path = dir.join(FILE_NAME);
        let cannot_open = |source| StateError::Open { path: path.clone(), source };
        std::fs::create_dir_all(dir).map_err(cannot_open)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // The file holds every key there is.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        drop(options.open(&path).map_err(cannot_open)?);

        let damaged = |reason: String| StateError::Damaged { path: path.clone(), reason };
        // A plain open trusts the file, and panics later if it should not have.
        let mut builder = Database::builder();
        let database = builder.set_check_integrity_on_open(true).create(&path);
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StateError::InUse { path: path.clone() },
            other => damaged(other.to_string()),
        })?;
        let records = read(&database).map_err(|error| damaged(error.to_string()))?;
        match records.iter().find(|record| record.kind == Kind::About) {
            Some(about) if about.value != LAYOUT => {
                return Err(damaged("written by another version of this program".into()));
            }
            _ => {}
        }

        let (queue, work) = sync_channel(QUEUE);
        let of_writer = path.clone();
        let writer = std::thread::Builder::new()
            .name("state-writer".into())
            .spawn(move || write_all(&database, &work, &of_writer))
            .map_err(cannot_open)?;
        let store = Store { path: path.clone(), queue: Some(queue), writer: Some(writer) };
        let layout = Change { kind: Kind::About, key: "layout".into(), value: Some(LAYOUT.into()) };
        store
            .write(vec![layout])
            .wait()
            .map_err(|NotWritten| damaged("cannot be written".into()))?;
        Ok((store, records))
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Queues changes. Those of one call are written together, and calls in the
    /// order they were made.
    pub(super) fn write(&self, changes: Vec<Change>) -> Written {
        let (done, outcome) = sync_channel(1);
        if let Some(queue) = &self.queue {
            // If the writer is gone, so is `done`, and the wait ends at once.
            let _ = queue.send(Work { changes, done });
        }
        Written { outcome }
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

/// Changes on their way to the disk.
#[must_use]
pub(super) struct Written {
    outcome: Receiver<Result<(), NotWritten>>,
}

impl Written {
    /// Waits until they are there.
    pub(super) fn wait(self) -> Result<(), NotWritten> {
        self.outcome.recv().unwrap_or(Err(NotWritten))
    }
}

fn read(database: &Database) -> Result<Vec<Record>, redb::Error> {
    // Opening a table for reading that was never written to is an error.
    let begin = database.begin_write()?;
    for kind in Kind::ALL {
        begin.open_table(kind.table())?;
    }
    begin.commit()?;
    let reader = database.begin_read()?;
    let mut records = Vec::new();
    for kind in Kind::ALL {
        for entry in reader.open_table(kind.table())?.iter()? {
            let (key, value) = entry?;
            records.push(Record { kind, key: key.value().into(), value: value.value().into() });
        }
    }
    Ok(records)
}

fn write_all(database: &Database, work: &Receiver<Work>, path: &Path) {
    while let Ok(first) = work.recv() {
        let batch: Vec<Work> =
            std::iter::once(first).chain(work.try_iter().take(MAX_BATCH - 1)).collect();
        let outcome = commit(database, &batch);
        if let Err(reason) = &outcome {
            error!(file = %path.display(), %reason, "state was not written; nothing more will be");
        }
        let failed = outcome.is_err();
        for work in batch {
            // Whoever asked may have gone away.
            let _ = work.done.send(if failed { Err(NotWritten) } else { Ok(()) });
        }
        if failed {
            return;
        }
    }
}

fn commit(database: &Database, batch: &[Work]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    for change in batch.iter().flat_map(|work| &work.changes) {
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
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Change {
        Change { kind: Kind::Twin, key: key.into(), value: Some(value.into()) }
    }

    fn twins(records: &[Record]) -> Vec<(&str, &[u8])> {
        let twins = records.iter().filter(|record| record.kind == Kind::Twin);
        twins.map(|record| (record.key.as_str(), record.value.as_slice())).collect()
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (store, records) = Store::open(dir.path()).unwrap();
        assert!(twins(&records).is_empty());
        store.write(vec![put("a", "1"), put("b", "2")]).wait().unwrap();
        store.write(vec![put("b", "3")]).wait().unwrap();
        let gone = Change { kind: Kind::Twin, key: "a".into(), value: None };
        store.write(vec![gone]).wait().unwrap();
        drop(store);

        let (_store, records) = Store::open(dir.path()).unwrap();
        assert_eq!(twins(&records), [("b", b"3".as_slice())]);
    }

    #[test]
    fn writers_at_the_same_time_are_all_answered() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..20 {
                        store.write(vec![put(&format!("{writer}-{n}"), "x")]).wait().unwrap();
                    }
                });
            }
        });
        drop(store);

        assert_eq!(twins(&Store::open(dir.path()).unwrap().1).len(), 160);
    }

    #[test]
    fn a_file_in_use_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let _store = Store::open(dir.path()).unwrap();

        let error = Store::open(dir.path()).err().unwrap();

        assert!(matches!(error, StateError::InUse { .. }), "{error}");
        assert!(error.to_string().contains("hub.redb"), "{error}");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path()).unwrap();
        let many = (0..500).map(|n| put(&n.to_string(), &"x".repeat(1000))).collect();
        store.write(many).wait().unwrap();
        drop(store);
        let path = dir.path().join(FILE_NAME);
        let whole = std::fs::read(&path).unwrap();
        let mut scribbled = whole.clone();
        scribbled[4096..20_000].fill(0xA5);

        for (what, bytes) in [
            ("not a database", b"hello, this is no database".repeat(1000)),
            ("cut in half", whole[..whole.len() / 2].to_vec()),
            ("cut to one page", whole[..4096].to_vec()),
            ("scribbled over", scribbled),
        ] {
            std::fs::write(&path, &bytes).unwrap();

            let error = Store::open(dir.path()).err().unwrap_or_else(|| panic!("{what}"));

            assert!(matches!(error, StateError::Damaged { .. }), "{what}: {error}");
            assert!(error.to_string().contains("hub.redb"), "{what}: {error}");
        }
    }
}
