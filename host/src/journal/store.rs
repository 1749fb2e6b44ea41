//! The file: opened, read, committed to; opened anew after an error, and set
//! aside where it is damaged.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError};
use tracing::{error, warn};

use super::directory::{self, JournalError};
use super::pages::{Broken, Pages, RecordKind, Snapshot};
use crate::supervision::panic_text;

const FILE_NAME: &str = "journal.redb";

/// The layout of the file; one with another number is not read.
const LAYOUT: &[u8] = b"1";

/// The format of redb's files, and the places of its number: once in each of the two
/// slots for commits, so that a damaged byte is not taken for another version.
const FORMAT: u8 = 3;
const FORMAT_PLACES: [usize; 2] = [64, 192];

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
    /// A reader has found damage: the file is to be opened anew, and checked.
    suspect: AtomicBool,
    /// The file was begun anew while the host runs.
    lost: AtomicBool,
}

/// Reason why a file was not opened.
enum OpenFailure {
    /// It will not get better by itself.
    Damaged(String),
    /// The file may be all right; the disk is not.
    Disk(io::Error),
    /// Another version of the host has written it.
    Layout(String),
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
            suspect: AtomicBool::new(false),
            lost: AtomicBool::new(false),
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
            Err(OpenFailure::Layout(found)) => {
                return Err(JournalError::Layout { path: directory.to_owned(), found });
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
            guarded(|| commit(database, change))
        };
        if written.is_err() {
            // The format refuses everything after a failed write, until then.
            self.close_file();
            self.open_again().ok();
        }
        written
    }

    pub(super) fn read<T>(
        &self,
        look: impl FnOnce(&Snapshot) -> Result<T, Broken>,
    ) -> Result<T, Broken> {
        let database = self.database.read();
        let database = database.as_ref().filter(|_| !self.is_suspect()).ok_or_else(closed)?;
        let found = guarded(|| look(&Snapshot(database.begin_read().map_err(Broken::from)?)));
        if let Err(broken) = &found
            && broken.kind == ErrorKind::InvalidData
        {
            error!(file = %self.file().display(), reason = %broken, "journal is damaged: checked now");
            self.suspect.store(true, Ordering::Release);
        }
        found
    }

    /// Checks whether a reader has found damage that was not yet looked at.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Acquire)
    }

    /// Checks whether the file was begun anew since the last call.
    pub(super) fn take_lost(&self) -> bool {
        self.lost.swap(false, Ordering::AcqRel)
    }

    /// Lets go of the file and the directory.
    pub(super) fn close(&self) {
        self.close_file();
        *self.lock.lock() = None;
    }

    fn close_file(&self) {
        let database = self.database.write().take();
        // What it finds in a damaged file may make it panic once more.
        catch_unwind(AssertUnwindSafe(|| drop(database))).ok();
    }

    fn open_again(&self) -> Result<(), Broken> {
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
                self.begin_anew(&reason).map_err(|error| broken(&io::Error::other(error)))?;
                self.lost.store(true, Ordering::Release);
            }
            Err(OpenFailure::Layout(found)) => return Err(broken(&io::Error::other(found))),
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
            let database = (self.disk.0)(&builder, file)
                .map_err(|error| why_not_opened(error, &self.file()))?;
            self.check(&database)?;
            Ok(database)
        };
        catch_unwind(AssertUnwindSafe(open))
            .unwrap_or_else(|panic| Err(OpenFailure::Damaged(panic_text(&*panic))))
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
            OpenFailure::Damaged(reason) | OpenFailure::Layout(reason) => {
                cannot(io::Error::other(reason))
            }
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

fn why_not_opened(error: DatabaseError, file: &Path) -> OpenFailure {
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

/// Returns the format of a file that another version of redb has written.
fn other_format(file: &Path) -> Option<u8> {
    let mut header = [0; FORMAT_PLACES[1] + 1];
    File::open(file).and_then(|mut file| file.read_exact(&mut header)).ok()?;
    let [first, second] = FORMAT_PLACES.map(|place| header[place]);
    (header.starts_with(b"redb") && first == second && first != FORMAT).then_some(first)
}

fn other_version(what: &str, found: &str, read: &str) -> String {
    format!("journal has {what} `{found}`; this version of the host reads `{read}`")
}

/// Runs what reads or writes the file. redb does not check pages as it reads, and panics
/// on what it finds in a damaged one.
fn guarded<T>(work: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        Err(Broken { text: panic_text(&*panic).replace('\n', " "), kind: ErrorKind::InvalidData })
    })
}
