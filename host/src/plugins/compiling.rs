//! The plugins that are being compiled.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;
use tracing::info;

/// The duration after which a compilation is logged. Compiled plugins in the cache load faster.
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
pub(crate) struct Compiling(Arc<Mutex<Vec<Arc<Compilation>>>>);

/// An entry of the list, which is removed when the guard is dropped.
pub(super) struct CompilingGuard {
    compiling: Compiling,
    entry: Arc<Compilation>,
    /// `None` outside a runtime.
    _announcement: Option<AbortOnDropHandle<()>>,
}

impl Compiling {
    /// Returns the compilations in progress, the oldest first.
    pub(crate) fn list(&self) -> Vec<Compilation> {
        self.0.lock().iter().map(|entry| Compilation::clone(entry)).collect()
    }

    /// Adds a plugin to the list. Logs its name if the compilation takes long.
    pub(super) fn begin(&self, plugin: &str) -> CompilingGuard {
        let (plugin, since) = (plugin.to_owned(), format!("{:.3}", Timestamp::now()));
        let entry = Arc::new(Compilation { plugin, since });
        self.0.lock().push(Arc::clone(&entry));
        let announced = Arc::clone(&entry);
        let announcement = async move {
            tokio::time::sleep(LONG).await;
            info!(plugin = announced.plugin, "compiling");
        };
        let announcement = Handle::try_current().map(|runtime| runtime.spawn(announcement)).ok();
        let _announcement = announcement.map(AbortOnDropHandle::new);
        CompilingGuard { compiling: self.clone(), entry, _announcement }
    }
}

impl Drop for CompilingGuard {
    fn drop(&mut self) {
        self.compiling.0.lock().retain(|entry| !Arc::ptr_eq(entry, &self.entry));
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
}
