//! A version of a plugin, and its running calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::Settings;

/// A loaded plugin, with the digest and the settings that identify its version.
#[derive(Debug, Clone)]
pub(crate) struct Loaded<P> {
    pub(crate) plugin: P,
    /// The SHA-256 digest of the file, in hexadecimal.
    pub(crate) digest: String,
    /// The limits, the capabilities and the plugin's own settings.
    pub(crate) settings: Arc<Settings>,
}

/// A version of a plugin.
#[derive(Debug)]
pub(crate) struct Version<P> {
    pub(crate) loaded: Loaded<P>,
    /// The number of the version, counted from 1 since the start of the host.
    pub(crate) number: u32,
    /// The time of activation by the wall clock.
    pub(crate) since: Timestamp,
    /// The time of activation by the monotonic clock.
    pub(super) begun: Instant,
    /// The running calls.
    pub(super) calls: TaskTracker,
    /// `true` if the version was replaced and has not been stopped yet.
    pub(super) to_stop: AtomicBool,
}

impl<P> Version<P> {
    pub(super) fn new(loaded: Loaded<P>, number: u32) -> Version<P> {
        let (calls, to_stop) = (TaskTracker::new(), AtomicBool::new(false));
        Version { loaded, number, since: Timestamp::now(), begun: Instant::now(), calls, to_stop }
    }

    /// Waits until the version is replaced and its last call has ended. Returns `true` if the
    /// caller has to stop it, and `false` if it was activated again meanwhile.
    pub(crate) async fn idle(&self) -> bool {
        self.calls.wait().await;
        self.to_stop.swap(false, Ordering::Relaxed)
    }

    /// Returns `true` if a replaced version has been stopped or its stop has begun.
    pub(crate) fn is_stopped(&self) -> bool {
        !self.to_stop.load(Ordering::Relaxed)
    }
}
