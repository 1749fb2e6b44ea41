//! Recording of calls as test cases of the author's tool, on request of an operator.
//!
//! [`Recorder::start`] selects the calls of one plugin, and the [`Recording`] receives them.
//! A recorded call uses handles that record its effects ([`handles`]). The inputs of the call
//! ([`inputs`]) and its effects become a case ([`case`]), without the values that look secret
//! ([`secrets`]) and with placeholders for values that differ in each run ([`outputs`]).
//!
//! A call that is not recorded costs one load of an atomic variable. One recording runs at a
//! time. Its number of calls and its size are limited here, and its duration by the client.

mod call;
mod case;
mod encode;
mod handles;
mod http;
mod inputs;
mod metrics;
mod outputs;
mod secrets;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub(crate) use call::Selected;
pub(crate) use secrets::{NameRule, Secrets};

/// Maximum number of calls of a recording.
pub const MAX_CALLS: u32 = 100;

/// Maximum size of all cases of a recording, in bytes. The client may read them slowly.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A recorded call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedCall {
    /// Name of the method or job.
    pub name: String,
    /// Outcome in a few words, such as `status 200`.
    pub outcome: String,
    /// Case as JSON text; `None` if it is too large.
    pub case: Option<String>,
    /// JSON pointers to the values that were left out.
    pub left_out: Vec<String>,
    /// Reasons why the call may not be replayed exactly, one line each.
    pub notes: Vec<String>,
}

/// Calls that a recording selects.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// Name of the plugin.
    pub(crate) plugin: String,
    /// Name of the method; `None` for all methods and jobs of the plugin.
    pub(crate) method: Option<String>,
    /// Number of calls.
    pub(crate) calls: u32,
    /// JSON pointers to values of the case that are left out.
    pub(crate) redact: Vec<String>,
}

/// Recorder of a host. The recorder is idle until an operator starts a recording.
#[derive(Default)]
pub(crate) struct Recorder {
    is_active: AtomicBool,
    active: Mutex<Option<Arc<ActiveRecording>>>,
}

/// State of a running recording that its calls share.
pub(crate) struct ActiveRecording {
    selection: Selection,
    calls_left: Mutex<u32>,
    bytes: AtomicUsize,
    recorded: mpsc::Sender<RecordedCall>,
}

/// Receiver of the calls of a running recording. Dropping it ends the recording.
pub(crate) struct Recording {
    recorder: Arc<Recorder>,
    recorded: mpsc::Receiver<RecordedCall>,
}

impl Recorder {
    /// Starts a recording. Returns `None` while another one runs.
    pub(crate) fn start(self: &Arc<Self>, mut selection: Selection) -> Option<Recording> {
        selection.calls = selection.calls.clamp(1, MAX_CALLS);
        let mut active = self.active.lock();
        if active.is_some() {
            return None;
        }
        let (sender, recorded) = mpsc::channel(MAX_CALLS as usize);
        *active = Some(Arc::new(ActiveRecording {
            calls_left: Mutex::new(selection.calls),
            selection,
            bytes: AtomicUsize::new(0),
            recorded: sender,
        }));
        self.is_active.store(true, Ordering::Relaxed);
        Some(Recording { recorder: Arc::clone(self), recorded })
    }

    /// Returns the recording that selects a call, and counts the call. `is_job` is `true` for a
    /// job.
    pub(crate) fn select(
        &self,
        plugin: &str,
        name: &str,
        is_job: bool,
    ) -> Option<Arc<ActiveRecording>> {
        if !self.is_active.load(Ordering::Relaxed) {
            return None;
        }
        let recording = self.active.lock().clone()?;
        let Selection { plugin: selected, method, .. } = &recording.selection;
        let fits = method.as_ref().is_none_or(|method| method == name && !is_job);
        if selected != plugin || !fits {
            return None;
        }
        let mut left = recording.calls_left.lock();
        *left = left.checked_sub(1)?;
        if *left == 0 {
            self.is_active.store(false, Ordering::Relaxed);
        }
        drop(left);
        Some(recording)
    }
}

impl ActiveRecording {
    /// Sends a recorded call to the receiver. If the recording is too large, omits the case.
    fn deliver(&self, mut call: RecordedCall) {
        let bytes = call.case.as_ref().map_or(0, String::len);
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_BYTES {
            call.case = None;
        }
        // Fails only if the client has disconnected, because the channel has room for all calls.
        let _ = self.recorded.try_send(call);
    }
}

impl Recording {
    /// Waits for the next recorded call. A call that the host cancels is not recorded, so the
    /// caller may receive fewer calls than were selected.
    pub(crate) async fn next(&mut self) -> Option<RecordedCall> {
        self.recorded.recv().await
    }

    /// Selects no further calls. [`next`](Self::next) returns `None` after the calls in progress.
    pub(crate) fn stop_selecting(&self) {
        self.recorder.is_active.store(false, Ordering::Relaxed);
        self.recorder.active.lock().take();
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.stop_selecting();
    }
}

#[cfg(test)]
mod tests;
