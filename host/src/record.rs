//! Recording of calls as test cases of the author's tool, on request of an operator.
//!
//! [`Recorder::start`] selects the calls of one plugin, and the [`Recording`] receives them.
//! A recorded call uses handles that note its effects ([`handles`]). Everything that the
//! plugin could read before the call, and everything that it did, becomes a case ([`case`]),
//! without the values whose names look secret ([`secrets`]) and with placeholders for values
//! that differ in each run ([`outputs`]).
//!
//! A call that is not recorded costs one load of an atomic variable. One recording runs at a
//! time, and it has limits on its calls, its bytes and, through its client, its duration.

mod before;
mod call;
mod case;
mod handles;
mod outputs;
mod secrets;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub(crate) use call::Selected;

/// The maximum number of calls of a recording.
pub const MAX_CALLS: u32 = 100;

/// The maximum size of all cases of a recording, in bytes. The client may read them slowly.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// A recorded call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedCall {
    /// The name of the method or job.
    pub name: String,
    /// The outcome in a few words, such as `status 200`.
    pub outcome: String,
    /// The case as JSON text; `None` if it is too large.
    pub case: Option<String>,
    /// JSON pointers to the values that were left out.
    pub left_out: Vec<String>,
    /// Reasons why the call may not be replayed exactly, one line each.
    pub notes: Vec<String>,
}

/// The calls that a recording selects.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    /// The plugin's name.
    pub(crate) plugin: String,
    /// The method's name; `None` for all methods and jobs of the plugin.
    pub(crate) method: Option<String>,
    /// The number of calls.
    pub(crate) calls: u32,
    /// JSON pointers to values of the case that are left out.
    pub(crate) redact: Vec<String>,
}

/// The recorder of a host. It is idle until an operator starts a recording.
#[derive(Default)]
pub(crate) struct Recorder {
    is_active: AtomicBool,
    session: Mutex<Option<Arc<ActiveRecording>>>,
}

/// A recording from the point of view of the calls.
pub(crate) struct ActiveRecording {
    selection: Selection,
    calls_left: Mutex<u32>,
    bytes: AtomicUsize,
    recorded: mpsc::Sender<RecordedCall>,
}

/// A running recording. Dropping it ends the recording.
pub(crate) struct Recording {
    recorder: Arc<Recorder>,
    recorded: mpsc::Receiver<RecordedCall>,
}

impl Recorder {
    /// Starts a recording. Returns `None` while another one runs.
    pub(crate) fn start(self: &Arc<Self>, mut selection: Selection) -> Option<Recording> {
        selection.calls = selection.calls.clamp(1, MAX_CALLS);
        let mut session = self.session.lock();
        if session.is_some() {
            return None;
        }
        let (sender, recorded) = mpsc::channel(MAX_CALLS as usize);
        *session = Some(Arc::new(ActiveRecording {
            calls_left: Mutex::new(selection.calls),
            selection,
            bytes: AtomicUsize::new(0),
            recorded: sender,
        }));
        self.is_active.store(true, Ordering::Relaxed);
        Some(Recording { recorder: Arc::clone(self), recorded })
    }

    /// Returns the recording that a call belongs to, and counts the call. `is_job` is `true`
    /// for a job.
    pub(crate) fn select(
        &self,
        plugin: &str,
        name: &str,
        is_job: bool,
    ) -> Option<Arc<ActiveRecording>> {
        if !self.is_active.load(Ordering::Relaxed) {
            return None;
        }
        let session = self.session.lock().clone()?;
        let Selection { plugin: selected, method, .. } = &session.selection;
        let fits = method.as_ref().is_none_or(|method| method == name && !is_job);
        if selected != plugin || !fits {
            return None;
        }
        let mut left = session.calls_left.lock();
        *left = left.checked_sub(1)?;
        if *left == 0 {
            self.is_active.store(false, Ordering::Relaxed);
        }
        drop(left);
        Some(session)
    }
}

impl ActiveRecording {
    /// Hands a recorded call over, without its case once the recording is too large.
    fn deliver(&self, mut call: RecordedCall) {
        let bytes = call.case.as_ref().map_or(0, String::len);
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_BYTES {
            call.case = None;
        }
        // The client may have gone. There is room for all calls.
        let _ = self.recorded.try_send(call);
    }
}

impl Recording {
    /// Returns the next recorded call. The caller counts them: a call that the host cancels is
    /// not recorded, so that fewer calls than selected may follow.
    pub(crate) async fn next(&mut self) -> Option<RecordedCall> {
        self.recorded.recv().await
    }

    /// Forgets the selection, so that `next` returns `None` after the calls in progress.
    pub(crate) fn stop_selecting(&self) {
        self.recorder.is_active.store(false, Ordering::Relaxed);
        self.recorder.session.lock().take();
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.stop_selecting();
    }
}

#[cfg(test)]
mod tests;
