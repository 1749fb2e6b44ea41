//! The plugins that are being compiled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

/// The duration after which a compilation is logged and reported. Compiled plugins in the cache
/// load faster.
const LONG: Duration = Duration::from_secs(2);

/// A compilation in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compilation {
    /// Name of the plugin in the configuration.
    pub plugin: String,
    /// Time at which it began.
    pub since: String,
}

/// The compilations in progress. Clones share the list.
#[derive(Clone, Default)]
pub(crate) struct Compiling {
    entries: Arc<Mutex<Vec<Arc<CompilingEntry>>>>,
    /// Signals every change of the compilations that take long.
    changes: watch::Sender<()>,
    compiled: Arc<Mutex<Compiled>>,
}

/// The compilations that have ended, without those whose result was in the cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Compiled {
    pub(crate) count: u64,
    pub(crate) total: Duration,
    pub(crate) longest: Duration,
}

struct CompilingEntry {
    compilation: Compilation,
    is_long: AtomicBool,
}

/// An entry of the list, which is removed when the guard is dropped.
pub(super) struct CompilingGuard {
    compiling: Compiling,
    entry: Arc<CompilingEntry>,
    /// `None` outside a runtime.
    _announcement: Option<AbortOnDropHandle<()>>,
}

impl Compiling {
    /// Returns the compilations in progress, the oldest first.
    pub(crate) fn list(&self) -> Vec<Compilation> {
        self.entries.lock().iter().map(|entry| entry.compilation.clone()).collect()
    }

    /// Returns those that have taken longer than [`LONG`], the oldest first.
    pub(crate) fn list_long(&self) -> Vec<Compilation> {
        let entries = self.entries.lock();
        let long = entries.iter().filter(|entry| entry.is_long.load(Ordering::Relaxed));
        long.map(|entry| entry.compilation.clone()).collect()
    }

    /// Returns a receiver that is notified when [`Compiling::list_long`] changes.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Counts a compilation.
    pub(super) fn compiled(&self, elapsed: Duration) {
        let mut compiled = self.compiled.lock();
        compiled.count += 1;
        compiled.total += elapsed;
        compiled.longest = compiled.longest.max(elapsed);
    }

    /// Returns the number and the durations of compilations since the start of the host.
    pub(crate) fn ended(&self) -> Compiled {
        *self.compiled.lock()
    }

    /// Adds a plugin to the list. Logs its name if the compilation takes long.
    pub(super) fn begin(&self, plugin: &str) -> CompilingGuard {
        let (plugin, since) = (plugin.to_owned(), format!("{:.3}", Timestamp::now()));
        let compilation = Compilation { plugin, since };
        let entry = Arc::new(CompilingEntry { compilation, is_long: AtomicBool::new(false) });
        self.entries.lock().push(Arc::clone(&entry));
        let (announced, changes) = (Arc::clone(&entry), self.changes.clone());
        let announcement = async move {
            tokio::time::sleep(LONG).await;
            info!(plugin = announced.compilation.plugin, "compiling");
            announced.is_long.store(true, Ordering::Relaxed);
            changes.send_replace(());
        };
        let announcement = Handle::try_current().map(|runtime| runtime.spawn(announcement)).ok();
        let _announcement = announcement.map(AbortOnDropHandle::new);
        CompilingGuard { compiling: self.clone(), entry, _announcement }
    }
}

impl Drop for CompilingGuard {
    fn drop(&mut self) {
        self.compiling.entries.lock().retain(|entry| !Arc::ptr_eq(entry, &self.entry));
        if self.entry.is_long.load(Ordering::Relaxed) {
            self.compiling.changes.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_listed_while_it_is_compiled() {
        let compiling = Compiling::default();
        let names = || compiling.list().into_iter().map(|it| it.plugin).collect::<Vec<_>>();
        let first = compiling.begin("p");
        let _second = compiling.begin("q");
        assert_eq!(names(), ["p", "q"]);
        drop(first);
        assert_eq!(names(), ["q"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_compilation_is_reported_once_it_takes_long() {
        let compiling = Compiling::default();
        let mut changes = compiling.changes();
        let begun = tokio::time::Instant::now();
        let compilation = compiling.begin("p");
        assert_eq!(compiling.list_long(), []);
        changes.changed().await.unwrap();
        assert_eq!((compiling.list_long(), begun.elapsed()), (compiling.list(), LONG));
        drop(compilation);
        changes.changed().await.unwrap();
        assert_eq!(compiling.list_long(), []);
    }
}
