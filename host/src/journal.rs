//! Everything that must outlive the process, in one file: reports and messages on their
//! way to the hub, jobs, the state of plugins, the desired properties that they
//! accepted, reboots, answers for repeated methods, and the plugins that an operator has
//! switched off.
//!
//! To know that a change is on disk, await [`Journal::write`]. Changes that arrive
//! together share one commit and one sync, made by a single writing thread. A
//! [`Source`] keeps its data in memory and is asked with every commit for the changes
//! to persist; [`Journal::nudge`] announces a change that no caller waits for.
//!
//! The journal does not interpret its records. A method that changes none of this never
//! reaches it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use plugin::HostError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

pub use directory::JournalError;
pub(crate) use directory::{check_directory, default_directory, name_of};
pub(crate) use mirrored::{Mirrored, Persistent};
pub(crate) use pages::{Broken, Pages, RecordKind, Snapshot, Stop};
use rates::CommitRates;
use store::{Disk, Store};
use writer::{Work, Writer, WriterCommand};

use crate::config::CommitLimits;
use crate::supervision::{Pulse, panic_text};

mod directory;
mod mirrored;
mod pages;
mod rates;
mod store;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

/// Changes that wait for the writer; more make their callers wait.
const QUEUE: usize = 256;

/// Reads at once away from the async threads.
const READERS: usize = 8;

/// A module that keeps its data in memory and has it persisted.
pub(crate) trait Source: Send + Sync {
    /// Persists the changes since the last call. Returns `false` if there are none.
    fn save(&self, pages: &Pages<'_>) -> Result<bool, Broken>;

    /// Receives the outcome of the last [`Source::save`].
    fn saved(&self, written: bool);

    /// Persists everything anew from the next call of [`Source::save`] on: the file was
    /// damaged and is empty now.
    fn lost(&self);
}

/// The open journal.
pub(crate) struct Journal {
    store: Arc<Store>,
    to_writer: SyncSender<WriterCommand>,
    writer: Mutex<Option<JoinHandle<()>>>,
    room: Arc<Semaphore>,
    rates: Arc<CommitRates>,
    sources: Arc<Mutex<Vec<Arc<dyn Source>>>>,
    nudged: Arc<AtomicBool>,
    pulse: Arc<Mutex<Option<Pulse>>>,
    /// Places of those who read away from the async threads.
    readers: Arc<Semaphore>,
}

impl Journal {
    /// Opens the journal of a device, or begins one. A file that is damaged is set
    /// aside, and the log says so. Blocks.
    pub(crate) fn open(
        directory: &Path,
        device: &str,
        commits: CommitLimits,
    ) -> Result<Journal, JournalError> {
        Journal::open_on(Disk::default(), directory, device, commits)
    }

    fn open_on(
        disk: Disk,
        directory: &Path,
        device: &str,
        commits: CommitLimits,
    ) -> Result<Journal, JournalError> {
        let store = Arc::new(Store::open(disk, directory, device)?);
        // Beside the changes, which have permits: a nudge or two, and the end.
        let (to_writer, messages) = sync_channel(QUEUE + 8);
        let sources = Arc::new(Mutex::new(Vec::new()));
        let nudged = Arc::new(AtomicBool::new(false));
        let pulse = Arc::new(Mutex::new(None));
        let rates = Arc::new(CommitRates::new(commits));
        let writer = Writer::new(
            Arc::clone(&store),
            messages,
            Arc::clone(&sources),
            Arc::clone(&nudged),
            Arc::clone(&pulse),
            Arc::clone(&rates),
        );
        let end = Arc::clone(&pulse);
        let writer = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                let ended = catch_unwind(AssertUnwindSafe(|| writer.run()));
                let pulse = end.lock().take();
                if let (Some(pulse), Err(panic)) = (pulse, ended) {
                    pulse.ended(Err(panic_text(&*panic)));
                }
            })
            .map_err(|source| JournalError::Open { path: directory.to_owned(), source })?;
        Ok(Journal {
            store,
            to_writer,
            writer: Mutex::new(Some(writer)),
            room: Arc::new(Semaphore::new(QUEUE)),
            rates,
            sources,
            nudged,
            pulse,
            readers: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// From now on the source is asked with every commit.
    pub(crate) fn keep(&self, source: Arc<dyn Source>) {
        self.sources.lock().push(source);
    }

    /// Has the writing thread supervised from now on.
    pub(crate) fn supervise(&self, pulse: Pulse) {
        *self.pulse.lock() = Some(pulse);
        // It may wait without an end for something to write.
        self.nudge();
    }

    /// Makes a change and returns when it is on disk. A change that refuses must
    /// not have changed anything; it runs on the thread that writes, in the order
    /// of the calls, even if this future is dropped meanwhile.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Pages<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, HostError> {
        self.write_or(change, drop).await
    }

    /// The same for a change that was made in memory as well: `undo` is called with
    /// what the change gave if that did not reach the disk.
    pub(crate) async fn write_or<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Pages<'_>) -> Result<T, Stop> + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, HostError> {
        self.hand_over(None, change, undo).await
    }

    /// The same for a change that a plugin has asked for. It waits if the plugin causes
    /// more commits than allowed. It is not made if this future is dropped before that
    /// wait is over.
    pub(crate) async fn write_for<T: Send + 'static>(
        &self,
        plugin: &str,
        change: impl FnOnce(&Pages<'_>) -> Result<T, Stop> + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, HostError> {
        // Once only: all changes that have waited share a commit or two, which later
        // changes wait for.
        let wait = self.rates.wait_of(plugin);
        if !wait.is_zero() {
            sleep(wait).await;
        }
        self.hand_over(Some(plugin.to_owned()), change, undo).await
    }

    async fn hand_over<T: Send + 'static>(
        &self,
        plugin: Option<String>,
        change: impl FnOnce(&Pages<'_>) -> Result<T, Stop> + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, HostError> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| closed())?;
        let (done, outcome) = oneshot::channel();
        let change =
            JournalChange { plugin, change: Some(change), given: None, undo, done, _room: room };
        self.to_writer.send(WriterCommand::Work(Box::new(change))).map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }

    /// Returns when everything that the sources had to persist is on disk.
    pub(crate) async fn flush(&self) -> Result<(), HostError> {
        self.write(|_| Ok(())).await
    }

    /// Announces a change of a source that no caller waits for.
    pub(crate) fn nudge(&self) {
        if !self.nudged.swap(true, Ordering::AcqRel) {
            // A writer that has ended has saved all it could.
            self.to_writer.send(WriterCommand::Nudge).ok();
        }
    }

    /// Reads the current records. Blocks while the disk is read, which is not
    /// noticeable for pages in memory.
    pub(crate) fn read<T>(
        &self,
        look: impl FnOnce(&Snapshot) -> Result<T, Broken>,
    ) -> Result<T, HostError> {
        let found = self.store.read(look);
        if self.store.is_suspect() {
            self.nudge();
        }
        found.map_err(|broken| HostError::Other(format!("journal: {broken}")))
    }

    /// The same on a thread that may block. Few read at once, so that a slow disk does not
    /// take all such threads; the others wait.
    pub(crate) async fn read_apart<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl FnOnce(&Snapshot) -> Result<T, Broken> + Send + 'static,
    ) -> Result<T, HostError> {
        let place = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| closed())?;
        let journal = Arc::clone(self);
        let reading = spawn_blocking(move || {
            let _place = place;
            journal.read(look)
        });
        reading.await.map_err(|_| closed())?
    }

    /// Returns the new path of a corrupt file that was set aside at this start, if
    /// there was one.
    #[cfg(test)]
    pub(crate) fn set_aside(&self) -> Option<&Path> {
        self.store.set_aside.as_deref()
    }

    /// Persists the rest and releases the directory. Later requests are refused.
    pub(crate) async fn close(&self) {
        self.room.close();
        self.to_writer.send(WriterCommand::Close).ok();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // A panic of the writer was reported by its supervisor.
            spawn_blocking(move || writer.join().ok()).await.ok();
        }
        self.sources.lock().clear();
        self.store.close();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.to_writer.send(WriterCommand::Close).ok();
    }
}

fn closed() -> HostError {
    HostError::Other("the host is stopping".into())
}

/// A change on its way to the writer.
struct JournalChange<F, U, T> {
    plugin: Option<String>,
    change: Option<F>,
    /// Result of the change, before the writer knows whether it is on disk.
    given: Option<Result<T, HostError>>,
    undo: U,
    done: oneshot::Sender<Result<T, HostError>>,
    _room: OwnedSemaphorePermit,
}

impl<F, U, T> Work for JournalChange<F, U, T>
where
    F: FnOnce(&Pages<'_>) -> Result<T, Stop> + Send,
    U: FnOnce(T) + Send,
    T: Send,
{
    fn plugin(&self) -> Option<&str> {
        self.plugin.as_deref()
    }

    fn run(&mut self, pages: &Pages<'_>) -> Result<(), Broken> {
        let Some(change) = self.change.take() else { return Ok(()) };
        match change(pages) {
            Ok(given) => self.given = Some(Ok(given)),
            Err(Stop::No(why)) => self.given = Some(Err(why)),
            Err(Stop::Broken(broken)) => return Err(broken),
        }
        Ok(())
    }

    fn ended(self: Box<Self>, written: Result<(), &str>) {
        let JournalChange { given, undo, done, .. } = *self;
        let outcome = match (given, written) {
            (Some(given), Ok(())) => given,
            (Some(Err(why)), Err(_)) => Err(why),
            (given, written) => {
                if let Some(Ok(given)) = given {
                    undo(given);
                }
                let why = written.err().unwrap_or("the writer has ended");
                Err(HostError::Other(format!("not written to disk: {why}")))
            }
        };
        // Who waited may have given up.
        done.send(outcome).ok();
    }
}
