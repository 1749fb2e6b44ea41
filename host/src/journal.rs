//! Database of all persisted data of a device.
//!
//! It contains pending reports and messages, jobs, the state of plugins, accepted desired
//! properties, reboots, answers to repeated methods, and the names of plugins that an operator
//! has disabled.
//!
//! The future of [`Journal::write`] resolves once the change is persisted. Concurrent changes
//! share one commit and one sync of a single writer thread. A [`Source`] keeps its data in
//! memory and adds its changes to every commit. [`Journal::nudge`] requests a commit without
//! waiting for it.
//!
//! The journal does not interpret its records. A method that persists nothing does not access
//! the journal.

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
pub(crate) use directory::{check_directory, default_directory};
pub(crate) use mirrored::{Mirrored, Persistent};
pub(crate) use pages::{ChangeError, DiskError, Pages, RecordKind, Snapshot};
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

/// Maximum number of changes in the writer's queue. Further callers wait.
const QUEUE: usize = 256;

/// Maximum number of concurrent reads on blocking threads.
const READERS: usize = 8;

/// Component that keeps its data in memory and persists it through the journal.
pub(crate) trait Source: Send + Sync {
    /// Writes the changes since the last call. Returns `false` if there are none.
    fn save(&self, pages: &Pages<'_>) -> Result<bool, DiskError>;

    /// Receives the outcome of the commit after [`Source::save`]. `written` is `true` if the
    /// changes are persisted.
    fn saved(&self, written: bool);

    /// Marks all data as not persisted, because the corrupt file was replaced by an empty one.
    fn lost(&self);
}

/// Disk usage of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JournalUsage {
    /// Number of commits since the start of the host.
    pub(crate) commits: u64,
    /// Size of the file in bytes, after the last commit.
    pub(crate) bytes: u64,
}

/// Open journal of a device.
pub(crate) struct Journal {
    store: Arc<Store>,
    to_writer: SyncSender<WriterCommand>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Permits for queued changes.
    capacity: Arc<Semaphore>,
    rates: Arc<CommitRates>,
    sources: Arc<Mutex<Vec<Arc<dyn Source>>>>,
    nudged: Arc<AtomicBool>,
    pulse: Arc<Mutex<Option<Pulse>>>,
    /// Permits for reads on blocking threads.
    readers: Arc<Semaphore>,
}

impl Journal {
    /// Opens the journal of a device, or creates one. A corrupt file is renamed, logged and
    /// replaced by an empty one. Blocks.
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
        // In addition to the changes, which need permits, the channel holds at most two nudges
        // and the close commands.
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
            capacity: Arc::new(Semaphore::new(QUEUE)),
            rates,
            sources,
            nudged,
            pulse,
            readers: Arc::new(Semaphore::new(READERS)),
        })
    }

    /// Registers a source, whose changes become part of every later commit.
    pub(crate) fn keep(&self, source: Arc<dyn Source>) {
        self.sources.lock().push(source);
    }

    /// Starts the supervision of the writer thread.
    pub(crate) fn supervise(&self, pulse: Pulse) {
        *self.pulse.lock() = Some(pulse);
        // Wakes the writer, which otherwise waits without a timeout and sends no heartbeat.
        self.nudge();
    }

    /// Persists a change. `change` runs on the writer thread, in the order of the calls, and
    /// even if this future is dropped. If `change` returns an error, it must not have written
    /// anything.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Pages<'_>) -> Result<T, ChangeError> + Send + 'static,
    ) -> Result<T, HostError> {
        self.write_or(change, drop).await
    }

    /// Persists a change that was also made in memory. Like [`Journal::write`], but calls
    /// `undo` with the result of `change` if the commit fails.
    pub(crate) async fn write_or<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Pages<'_>) -> Result<T, ChangeError> + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, HostError> {
        self.enqueue(None, change, undo).await
    }

    /// Persists a change on behalf of a plugin. Waits first if the plugin exceeds its rate of
    /// commits; dropping the future during that wait discards the change.
    pub(crate) async fn write_for<T: Send + 'static>(
        &self,
        plugin: &str,
        change: impl FnOnce(&Pages<'_>) -> Result<T, ChangeError> + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, HostError> {
        // Waiting once is enough: changes that have waited share one or two commits, and later
        // changes wait for those commits.
        let wait = self.rates.wait_of(plugin);
        if !wait.is_zero() {
            sleep(wait).await;
        }
        self.enqueue(Some(plugin.to_owned()), change, undo).await
    }

    /// Sends a change to the writer and waits for its commit.
    async fn enqueue<T: Send + 'static>(
        &self,
        plugin: Option<String>,
        change: impl FnOnce(&Pages<'_>) -> Result<T, ChangeError> + Send + 'static,
        undo: impl FnOnce(T) + Send + 'static,
    ) -> Result<T, HostError> {
        let permit = Arc::clone(&self.capacity).acquire_owned().await.map_err(|_| closed())?;
        let (done, outcome) = oneshot::channel();
        let change = JournalChange {
            plugin,
            change: Some(change),
            result: None,
            undo,
            done,
            _permit: permit,
        };
        self.to_writer.send(WriterCommand::Work(Box::new(change))).map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }

    /// Persists all current changes of the sources.
    pub(crate) async fn flush(&self) -> Result<(), HostError> {
        self.write(|_| Ok(())).await
    }

    /// Returns the disk usage. Does not access the disk.
    pub(crate) fn usage(&self) -> JournalUsage {
        self.store.usage()
    }

    /// Requests a commit of the changes of the sources, without waiting for it.
    pub(crate) fn nudge(&self) {
        if !self.nudged.swap(true, Ordering::AcqRel) {
            // Fails only after the writer has made its last commit and ended.
            self.to_writer.send(WriterCommand::Nudge).ok();
        }
    }

    /// Reads records from the current snapshot. Blocks if pages must be read from disk.
    pub(crate) fn read<T>(
        &self,
        query: impl FnOnce(&Snapshot) -> Result<T, DiskError>,
    ) -> Result<T, HostError> {
        let found = self.store.read(query);
        if self.store.is_suspect() {
            self.nudge();
        }
        found.map_err(|broken| HostError::Other(format!("journal: {broken}")))
    }

    /// Reads records on a blocking thread. At most [`READERS`] reads run at the same time, so
    /// that a slow disk does not occupy all blocking threads.
    pub(crate) async fn read_apart<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Snapshot) -> Result<T, DiskError> + Send + 'static,
    ) -> Result<T, HostError> {
        let permit = Arc::clone(&self.readers).acquire_owned().await.map_err(|_| closed())?;
        let journal = Arc::clone(self);
        let reading = spawn_blocking(move || {
            let _permit = permit;
            journal.read(query)
        });
        reading.await.map_err(|_| closed())?
    }

    /// Returns the new path of a corrupt file that was renamed on opening, if there was one.
    #[cfg(test)]
    pub(crate) fn set_aside(&self) -> Option<&Path> {
        self.store.set_aside.as_deref()
    }

    /// Persists the pending changes and releases the directory. Later changes fail.
    pub(crate) async fn close(&self) {
        self.capacity.close();
        self.to_writer.send(WriterCommand::Close).ok();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            // The supervisor has already reported a panic of the writer.
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

/// Change in the queue of the writer.
struct JournalChange<F, U, T> {
    plugin: Option<String>,
    change: Option<F>,
    /// Result of `change`, before the commit.
    result: Option<Result<T, HostError>>,
    undo: U,
    done: oneshot::Sender<Result<T, HostError>>,
    _permit: OwnedSemaphorePermit,
}

impl<F, U, T> Work for JournalChange<F, U, T>
where
    F: FnOnce(&Pages<'_>) -> Result<T, ChangeError> + Send,
    U: FnOnce(T) + Send,
    T: Send,
{
    fn plugin(&self) -> Option<&str> {
        self.plugin.as_deref()
    }

    fn run(&mut self, pages: &Pages<'_>) -> Result<(), DiskError> {
        let Some(change) = self.change.take() else { return Ok(()) };
        match change(pages) {
            Ok(value) => self.result = Some(Ok(value)),
            Err(ChangeError::Refused(error)) => self.result = Some(Err(error)),
            Err(ChangeError::Disk(broken)) => return Err(broken),
        }
        Ok(())
    }

    fn ended(self: Box<Self>, written: Result<(), &str>) {
        let JournalChange { result, undo, done, .. } = *self;
        let outcome = match (result, written) {
            (Some(result), Ok(())) => result,
            (Some(Err(error)), Err(_)) => Err(error),
            (result, written) => {
                if let Some(Ok(value)) = result {
                    undo(value);
                }
                let reason = written.err().unwrap_or("the writer has ended");
                Err(HostError::Other(format!("not written to disk: {reason}")))
            }
        };
        // The caller may have dropped its future.
        done.send(outcome).ok();
    }
}
