//! File of the journal. It is reopened after an error, and renamed and replaced if it is
//! corrupt.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use plugin::readable;
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError};
use tracing::{error, warn};

use super::JournalUsage;
use super::directory::{self, JournalError};
use super::pages::{DiskError, Pages, RecordKind, Snapshot};
use crate::supervision::panic_text;

const FILE_NAME: &str = "journal.redb";

/// Version of the records' layout. A file with another layout is refused.
const LAYOUT: &[u8] = b"1";

/// Version of redb's file format, and its offsets in the file. Both commit slots contain it, so
/// a single corrupt byte is not mistaken for another version.
const FORMAT: u8 = 3;
const FORMAT_OFFSETS: [usize; 2] = [64, 192];

/// Size of the page cache in bytes. A small one suffices, because the host rarely reads a page
/// twice and the system caches the file too.
const CACHE_BYTES: usize = 1024 * 1024;

/// Maximum number of corrupt files that are kept for analysis.
const KEPT_ASIDE: usize = 3;

type OpenDatabase = dyn Fn(&Builder, File) -> Result<Database, DatabaseError> + Send + Sync;

/// Function that opens the database file. Tests replace it to simulate disk failures.
pub(super) struct Disk(pub(super) Box<OpenDatabase>);

impl Default for Disk {
    fn default() -> Disk {
        Disk(Box::new(|builder, file| builder.create_with_backend(FileBackend::new(file)?)))
    }
}

/// File of the journal, with the lock on its directory.
pub(super) struct Store {
    disk: Disk,
    pub(super) directory: PathBuf,
    /// Name of the device that owns the journal.
    device: String,
    /// Open database; `None` while the file cannot be opened.
    database: RwLock<Option<Database>>,
    pub(super) set_aside: Option<PathBuf>,
    /// Lock on the directory; `None` after the journal was closed.
    lock: Mutex<Option<File>>,
    /// `true` after a reader has found corruption, until the file is reopened and checked.
    suspect: AtomicBool,
    /// `true` after the file was replaced by an empty one at run time.
    lost: AtomicBool,
    /// Number of commits.
    commits: AtomicU64,
    /// Size of the file after the last commit.
    bytes: AtomicU64,
}

/// Reason why the file was not opened.
enum OpenFailure {
    /// Corrupt file, or file of another device.
    Damaged(String),
    /// Disk failure; the file may be valid.
    Disk(io::Error),
    /// File that another version of the host has written.
    Layout(String),
}

impl Store {
    /// Locks the directory and opens the file, or replaces a corrupt one. A full disk is not an
    /// error, because a later commit opens the file.
    pub(super) fn open(disk: Disk, directory: &Path, device: &str) -> Result<Store, JournalError> {
        let lock = directory::lock(directory)?;
        let mut store = Store {
            disk,
            directory: directory.to_owned(),
            device: device.to_owned(),
            database: RwLock::new(None),
            set_aside: None,
            lock: Mutex::new(Some(lock)),
            suspect: AtomicBool::new(false),
            lost: AtomicBool::new(false),
            commits: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        };
        match store.open_file() {
            Ok(database) => store.database = RwLock::new(Some(database)),
            Err(OpenFailure::Damaged(reason)) => {
                store.set_aside = Some(store.start_anew(&reason)?);
            }
            // A device in the field must answer methods even if the disk is full.
            Err(OpenFailure::Disk(source)) if is_full(&source) => {
                error!(
                    file = %store.file().display(), reason = %source,
                    hint = "make room on the disk",
                    "journal cannot be opened: reports and jobs of plugins are refused"
                );
            }
            Err(OpenFailure::Disk(source)) => {
                return Err(JournalError::Open { path: directory.to_owned(), source });
            }
            Err(OpenFailure::Layout(found)) => {
                return Err(JournalError::Layout { path: directory.to_owned(), found });
            }
        }
        store.measure();
        Ok(store)
    }

    /// Returns the path of the file.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    /// Makes changes and commits them. If `change` returns `false`, there is nothing to commit.
    pub(super) fn commit(
        &self,
        change: impl FnOnce(&Pages<'_>) -> Result<bool, DiskError>,
    ) -> Result<(), DiskError> {
        self.reopen()?;
        let written = {
            let database = self.database.read();
            let database = database.as_ref().ok_or_else(closed)?;
            guarded(|| commit(database, change))
        };
        if written.is_err() {
            // redb refuses all operations after a failed write until the file is reopened.
            self.close_file();
            self.reopen().ok();
        }
        written
    }

    /// Reads records of the last commit. Marks a corrupt file as suspect.
    pub(super) fn read<T>(
        &self,
        query: impl FnOnce(&Snapshot) -> Result<T, DiskError>,
    ) -> Result<T, DiskError> {
        let database = self.database.read();
        let database = database.as_ref().filter(|_| !self.is_suspect()).ok_or_else(closed)?;
        let found = guarded(|| query(&Snapshot(database.begin_read().map_err(DiskError::from)?)));
        if let Err(broken) = &found
            && broken.kind == ErrorKind::InvalidData
        {
            error!(file = %self.file().display(), reason = %broken, "journal is damaged: checked now");
            self.suspect.store(true, Ordering::Release);
        }
        found
    }

    /// Counts a commit and measures the file. Blocks.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.measure();
    }

    fn measure(&self) {
        let bytes = self.file().metadata().map_or(0, |file| file.len());
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Returns the number of commits and the size of the file.
    pub(super) fn usage(&self) -> JournalUsage {
        JournalUsage {
            commits: self.commits.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }

    /// Returns `true` if a reader has found corruption since the file was opened.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    /// Returns `true` if the file was replaced by an empty one since the last call.
    pub(super) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }

    /// Closes the file and releases the directory.
    pub(super) fn close(&self) {
        self.close_file();
        *self.lock.lock() = None;
    }

    /// Closes the file.
    fn close_file(&self) {
        let database = self.database.write().take();
        // redb can panic while it closes a corrupt file.
        catch_unwind(AssertUnwindSafe(|| drop(database))).ok();
    }

    /// Opens the file if it is closed or suspect, or replaces a corrupt one.
    fn reopen(&self) -> Result<(), DiskError> {
        if self.suspect.swap(false, Ordering::AcqRel) {
            self.close_file();
        }
        if self.database.read().is_some() {
            return Ok(());
        }
        let mut database = self.database.write();
        if self.lock.lock().is_none() {
            return Err(closed());
        }
        match self.open_file() {
            Ok(opened) => *database = Some(opened),
            Err(OpenFailure::Disk(error)) => return Err(broken(&error)),
            Err(OpenFailure::Damaged(reason)) => {
                drop(database);
                self.start_anew(&reason).map_err(|error| broken(&io::Error::other(error)))?;
                self.lost.store(true, Ordering::Release);
            }
            Err(OpenFailure::Layout(found)) => return Err(broken(&io::Error::other(found))),
        }
        Ok(())
    }

    /// Opens or creates the file, and checks its integrity and owner.
    fn open_file(&self) -> Result<Database, OpenFailure> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // Only the host's user may read the state of plugins.
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.file()).map_err(OpenFailure::Disk)?;
        // The directory entry must be persisted before the contents of the file.
        File::open(&self.directory)
            .and_then(|folder| folder.sync_all())
            .map_err(OpenFailure::Disk)?;

        let mut builder = Database::builder();
        // The check at this point avoids panics of redb on corrupt pages later.
        builder.set_check_integrity_on_open(true).set_cache_size(CACHE_BYTES);
        let open = || -> Result<Database, OpenFailure> {
            let database =
                (self.disk.0)(&builder, file).map_err(|error| open_failure(error, &self.file()))?;
            self.check(&database)?;
            Ok(database)
        };
        catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|panic| Err(OpenFailure::Damaged(panic_text(&*panic))))
    }

    /// Initialises a new file, or checks the layout and the owner of an existing one.
    fn check(&self, database: &Database) -> Result<(), OpenFailure> {
        let mut other = None;
        let about = [("layout", LAYOUT), ("device", self.device.as_bytes())];
        let prepared = commit(database, |pages| {
            pages.create_tables()?;
            for (key, value) in about {
                match pages.get(RecordKind::About, key.as_bytes())? {
                    Some(found) if found == value => {}
                    Some(found) => {
                        let found = readable(&String::from_utf8_lossy(&found)).into_owned();
                        other.get_or_insert(match key {
                            "layout" => OpenFailure::Layout(other_version("layout", &found, "1")),
                            _ => OpenFailure::Damaged(format!("its {key} is `{found}`")),
                        });
                    }
                    None => pages.put(RecordKind::About, key.as_bytes(), value)?,
                }
            }
            Ok(other.is_none())
        });
        match (other, prepared) {
            (Some(other), _) => Err(other),
            (None, Ok(())) => Ok(()),
            (None, Err(broken)) => Err(OpenFailure::Disk(io::Error::new(broken.kind, broken.text))),
        }
    }

    /// Renames the file and creates an empty one. Returns the new path of the renamed file.
    fn start_anew(&self, reason: &str) -> Result<PathBuf, JournalError> {
        let cannot = |source| JournalError::Open { path: self.directory.clone(), source };
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ");
        let aside = self.directory.join(format!("journal-{time}.damaged"));
        fs::rename(self.file(), &aside).map_err(cannot)?;
        warn!(
            file = %self.file().display(), set_aside = %aside.display(), reason,
            "journal is damaged or of another device: set aside and replaced by an empty one"
        );
        self.remove_oldest();
        let opened = self.open_file().map_err(|failure| match failure {
            OpenFailure::Damaged(reason) | OpenFailure::Layout(reason) => {
                cannot(io::Error::other(reason))
            }
            OpenFailure::Disk(source) => cannot(source),
        })?;
        *self.database.write() = Some(opened);
        Ok(aside)
    }

    /// Removes the oldest corrupt files, so that at most [`KEPT_ASIDE`] remain.
    fn remove_oldest(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut aside: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "damaged"))
            .collect();
        aside.sort();
        let excess = aside.len().saturating_sub(KEPT_ASIDE);
        aside.drain(..excess).for_each(|path| drop(fs::remove_file(path)));
    }
}

fn commit(
    database: &Database,
    change: impl FnOnce(&Pages<'_>) -> Result<bool, DiskError>,
) -> Result<(), DiskError> {
    let transaction = database.begin_write().map_err(DiskError::from)?;
    if change(&Pages(&transaction))? {
        transaction.commit().map_err(DiskError::from)
    } else {
        transaction.abort().map_err(DiskError::from)
    }
}

fn closed() -> DiskError {
    DiskError { text: "the file cannot be opened".into(), kind: ErrorKind::Other }
}

fn broken(error: &io::Error) -> DiskError {
    DiskError { text: error.to_string(), kind: error.kind() }
}

/// Classifies an error in opening the file.
fn open_failure(error: DatabaseError, file: &Path) -> OpenFailure {
    if let Some(found) = other_format(file) {
        let (found, read) = (found.to_string(), FORMAT.to_string());
        return OpenFailure::Layout(other_version("file format", &found, &read));
    }
    match error {
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::InvalidData) =>
        {
            OpenFailure::Disk(error)
        }
        DatabaseError::DatabaseAlreadyOpen => {
            OpenFailure::Disk(io::Error::other("another program has it open"))
        }
        other => OpenFailure::Damaged(other.to_string().replace('\n', " ")),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
    )
}

/// Returns the format version of a file that another version of redb has written.
fn other_format(file: &Path) -> Option<u8> {
    let mut header = [0; FORMAT_OFFSETS[1] + 1];
    File::open(file).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    let [first, second] = FORMAT_OFFSETS.map(|offset| header[offset]);
    (header.starts_with(b"redb") && first == second && first != FORMAT).then_some(first)
}

fn other_version(what: &str, found: &str, read: &str) -> String {
    format!("journal has {what} `{found}`; this version of the host reads `{read}`")
}

/// Runs an operation on the file and converts a panic to an error, because redb panics on
/// corrupt pages.
fn guarded<T>(work: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(DiskError {
            text: panic_text(&*panic).replace('\n', " "),
            kind: ErrorKind::InvalidData,
        })
    })
}
