//! A version of a plugin, and the calls that hold it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::Settings;

/// Content of a version, and its identity.
#[derive(Debug, Clone)]
pub(crate) struct Made<P> {
    pub(crate) plugin: P,
    /// SHA-256 of the file, in hex.
    pub(crate) digest: String,
    /// Limits, capabilities and the plugin's own settings.
    pub(crate) settings: Arc<Settings>,
}

/// A version of a plugin.
#[derive(Debug)]
pub(crate) struct Version<P> {
    pub(crate) made: Made<P>,
    /// Counted from 1 since the host was started.
    pub(crate) number: u32,
    pub(crate) since: Timestamp,
    /// The same on the clock that is never set.
    pub(super) begun: Instant,
    pub(super) calls: TaskTracker,
    /// It has left, and was not stopped yet.
    pub(super) to_stop: AtomicBool,
}

impl<P> Version<P> {
    pub(super) fn new(made: Made<P>, number: u32) -> Version<P> {
        let (calls, to_stop) = (TaskTracker::new(), AtomicBool::new(false));
        Version { made, number, since: Timestamp::now(), begun: Instant::now(), calls, to_stop }
    }

    /// Waits until it takes no calls and the last one has ended. Says whether
    /// it is to be stopped now: it may have come back meanwhile.
    pub(crate) async fn idle(&self) -> bool {
        self.calls.wait().await;
        self.to_stop.swap(false, Ordering::Relaxed)
    }

    /// Checks whether its plugin was asked to stop, or is about to be.
    pub(crate) fn is_stopped(&self) -> bool {
        !self.to_stop.load(Ordering::Relaxed)
    }
}
