//! The file: opened, read, committed to; opened anew after an error, and set
//! aside where it is damaged.

use std::any::Any;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, RwLock};
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError};
use tracing::{error, warn};

use super::directory::{self, JournalError};
use super::pages::{Broken, Pages, RecordKind, Snapshot};

const FILE_NAME: &str = "journal.redb";

/// The layout of the file; one with another number is not read.
const LAYOUT: &[u8] = b"1";

/// Pages kept in memory. What the host reads again and again is little, and the
/// system keeps the file's pages as well.
const CACHE_BYTES: usize = 1024 * 1024;

/// Number of corrupt files that are kept for examination.
const KEPT_ASIDE: usize = 3;

type OpenDatabase = dyn Fn(&Builder, File) -> Result<Database, DatabaseError> + Send + Sync;

/// Function that opens the file. A test passes one that fails.
pub(super) struct Disk(pub(super) Box<OpenDatabase>);

impl Default for Disk {
    fn default() -> Disk {
        Disk(Box::new(|builder, file| builder.create_with_backend(FileBackend::new(file)?)))
    }
}

pub(super) struct Store {
    disk: Disk,
    pub(super) directory: PathBuf,
    /// Name of the device that owns the journal.
    device: String,
    /// `None` while it cannot be opened.
    database: RwLock<Option<Database>>,
    pub(super) set_aside: Option<PathBuf>,
    /// Held while the journal is open.
    lock: Mutex<Option<File>>,
}

/// Reason why a file was not opened.
enum OpenFailure {
    /// It will not get better by itself.
    Damaged(String),
    /// The file may be all right; the disk is not.
    Disk(io::Error),
}

impl Store {
    pub(super) fn open(disk: Disk, directory: &Path, device: &str) -> Result<Store, JournalError> {
        let lock = directory::lock(directory)?;
        let mut store = Store {
            disk,
            directory: directory.to_owned(),
            device: device.to_owned(),
            database: RwLock::new(None),
            set_aside: None,
            lock: Mutex::new(Some(lock)),
        };
        match store.open_file() {
            Ok(database) => store.database = RwLock::new(Some(database)),
            Err(OpenFailure::Damaged(reason)) => {
                store.set_aside = Some(store.begin_anew(&reason)?);
            }
            // A device in the field must answer its methods all the same.
            Err(OpenFailure::Disk(source)) if is_full(&source) => {
                error!(
                    file = %store.file().display(), reason = %source,
                    hint = "make room on the disk",
                    "journal cannot be opened: plugins that report or ask for jobs are told so"
                );
            }
            Err(OpenFailure::Disk(source)) => {
                return Err(JournalError::Open { path: directory.to_owned(), source });
            }
        }
        Ok(store)
    }

    pub(super) fn file(&self) -> PathBuf {
        self.directory.join(FILE_NAME)
    }

    /// Makes one commit of what `change` does, unless it says that it did nothing.
    pub(super) fn commit(
        &self,
        change: impl FnOnce(&Pages<'_>) -> Result<bool, Broken>,
    ) -> Result<(), Broken> {
        self.open_again()?;
        let written = {
            let database = self.database.read();
            let database = database.as_ref().ok_or_else(closed)?;
            commit(database, change)
        };
        if written.is_err() {
            // The format refuses everything after a failed write, until then.
            *self.database.write() = None;
            self.open_again().ok();
        }
        written
    }

    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&Snapshot) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(closed)?;
        look(&Snapshot(database.begin_read().map_err(Broken::from)?))
    }

    /// Lets go of the file and the directory.
    pub(super) fn close(&self) {
        *self.database.write() = None;
        *self.lock.lock() = None;
    }

    fn open_again(&self) -> Result<(), Broken> {
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
                self.begin_anew(&reason).map_err(|error| broken(&io::Error::other(error)))?;
            }
        }
        Ok(())
    }

    fn open_file(&self) -> Result<Database, OpenFailure> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // The state of plugins is private to the host's user.
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.file()).map_err(OpenFailure::Disk)?;
        // The file's own name must be on disk before anything that is in it.
        File::open(&self.directory)
            .and_then(|folder| folder.sync_all())
            .map_err(OpenFailure::Disk)?;

        let mut builder = Database::builder();
        // A plain open trusts the file, and panics later if it should not have.
        builder.set_check_integrity_on_open(true).set_cache_size(CACHE_BYTES);
        let open = || -> Result<Database, OpenFailure> {
            let database = (self.disk.0)(&builder, file).map_err(why_not_opened)?;
            self.check(&database)?;
            Ok(database)
        };
        catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|panic| Err(OpenFailure::Damaged(said(&*panic))))
    }

    /// Makes what a new file lacks, and looks whether an old one is ours.
    fn check(&self, database: &Database) -> Result<(), OpenFailure> {
        let mut other = None;
        let about = [("layout", LAYOUT), ("device", self.device.as_bytes())];
        let prepared = commit(database, |pages| {
            pages.make_all()?;
            for (key, value) in about {
                match pages.get(RecordKind::About, key.as_bytes())? {
                    Some(found) if found == value => {}
                    Some(found) => {
                        let found = String::from_utf8_lossy(&found).escape_debug().to_string();
                        other.get_or_insert(format!("its {key} is `{found}`"));
                    }
                    None => pages.put(RecordKind::About, key.as_bytes(), value)?,
                }
            }
            Ok(other.is_none())
        });
        match (other, prepared) {
            (Some(other), _) => Err(OpenFailure::Damaged(other)),
            (None, Ok(())) => Ok(()),
            (None, Err(broken)) => Err(OpenFailure::Disk(io::Error::new(broken.kind, broken.text))),
        }
    }

    /// Puts the file aside and begins another.
    fn begin_anew(&self, reason: &str) -> Result<PathBuf, JournalError> {
        let cannot = |source| JournalError::Open { path: self.directory.clone(), source };
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S%3fZ");
        let aside = self.directory.join(format!("journal-{time}.damaged"));
        fs::rename(self.file(), &aside).map_err(cannot)?;
        warn!(
            file = %self.file().display(), set_aside = %aside.display(), reason,
            "journal is damaged or not this device's: set aside, and begun anew; \
             what it held is not done"
        );
        self.forget_oldest();
        let opened = self.open_file().map_err(|failure| match failure {
            OpenFailure::Damaged(reason) => cannot(io::Error::other(reason)),
            OpenFailure::Disk(source) => cannot(source),
        })?;
        *self.database.write() = Some(opened);
        Ok(aside)
    }

    fn forget_oldest(&self) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        let mut aside: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "damaged"))
            .collect();
        aside.sort();
        let many = aside.len().saturating_sub(KEPT_ASIDE);
        aside.drain(..many).for_each(|path| drop(fs::remove_file(path)));
    }
}

fn commit(
    database: &Database,
    change: impl FnOnce(&Pages<'_>) -> Result<bool, Broken>,
) -> Result<(), Broken> {
    let transaction = database.begin_write().map_err(Broken::from)?;
    if change(&Pages(&transaction))? {
        transaction.commit().map_err(Broken::from)
    } else {
        transaction.abort().map_err(Broken::from)
    }
}

fn closed() -> Broken {
    Broken { text: "the file cannot be opened".into(), kind: ErrorKind::Other }
}

fn broken(error: &io::Error) -> Broken {
    Broken { text: error.to_string(), kind: error.kind() }
}

fn why_not_opened(error: DatabaseError) -> OpenFailure {
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

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unreadable").to_owned()
}
