//! One recorded call, from its start to its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use plugin::{Answer, Call, CallError, JobError, Lent, Plugin, PluginSettings};

use super::case::{self, CallEnd};
use super::handles::{Effects, noting};
use super::inputs::CallInputs;
use super::{ActiveRecording, RecordedCall};

/// Maximum number of keys of the plugin's state that are read.
const MAX_KEYS: u32 = 10_000;

/// A call that a recording has selected.
pub(crate) struct Selected {
    recording: Arc<ActiveRecording>,
    inputs: CallInputs,
    effects: Arc<Mutex<Effects>>,
}

impl Selected {
    /// Reads everything that the plugin can read, and replaces the handles of the call.
    pub(crate) async fn begin(
        recording: Arc<ActiveRecording>,
        plugin: &Plugin,
        digest: &str,
        settings: PluginSettings,
        call: &mut Call<'_>,
        is_job: bool,
    ) -> Selected {
        let lent = Arc::clone(&call.lent);
        let name = plugin.name();
        let state = state(&lent, name).await;
        let inputs = CallInputs {
            plugin: name.to_owned(),
            digest: digest.to_owned(),
            device: lent.device_id.to_string(),
            call: call.id.to_string(),
            name: call.method.to_owned(),
            job: is_job.then_some((call.attempt, call.boot_outcome)),
            payload: call.payload.to_owned(),
            trace_parent: call.trace_parent.clone(),
            time: lent.clock.now(),
            desired: lent.twin.desired().ok(),
            reported: lent.twin.reported().ok(),
            state: state.clone().unwrap_or_default(),
            state_is_unknown: state.is_none(),
            capabilities: plugin.capabilities().iter().map(|it| it.name().to_owned()).collect(),
            limits: plugin.limits().clone(),
            config: settings.config,
        };
        let effects = Effects { state: state.unwrap_or_default(), ..Effects::default() };
        let effects = Arc::new(Mutex::new(effects));
        call.lent = noting(&lent, &effects);
        Selected { recording, inputs, effects }
    }

    /// Delivers the case of a method.
    pub(crate) fn end_method(self, outcome: &Result<Answer, CallError>) {
        self.end(match outcome {
            Ok(answer) => CallEnd::Answer(answer.status, answer.payload.clone()),
            Err(error) => failed(error),
        });
    }

    /// Delivers the case of a job.
    pub(crate) fn end_job(self, outcome: &Result<Result<(), JobError>, CallError>) {
        self.end(match outcome {
            Ok(Ok(())) => CallEnd::Done,
            Ok(Err(JobError::Retry(Some(ms)))) => {
                CallEnd::failed("retry", format!("again in {ms} ms"))
            }
            Ok(Err(JobError::Retry(None))) => {
                CallEnd::failed("retry", "again at a time that the host chooses".to_owned())
            }
            Ok(Err(JobError::Reject(reason))) => CallEnd::failed("rejected", escaped(reason)),
            Ok(Err(JobError::Other(reason))) => CallEnd::failed("other", escaped(reason)),
            Err(error) => failed(error),
        });
    }

    fn end(self, ended: CallEnd) {
        let Selected { recording, inputs, effects } = self;
        let effects = std::mem::take(&mut *effects.lock());
        let call: RecordedCall =
            case::recorded(inputs, effects, ended, Timestamp::now(), &recording.selection.redact);
        recording.deliver(call);
    }
}

fn failed(error: &CallError) -> CallEnd {
    CallEnd::Failed { status: Some(error.status()), error: error.code(), message: error.message() }
}

fn escaped(text: &str) -> String {
    plugin::readable(text).into_owned()
}

/// Returns the state of a plugin, or `None` if it cannot be read.
async fn state(lent: &Lent, plugin: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let mut state = BTreeMap::new();
    for key in lent.state.keys(plugin, "", MAX_KEYS).await.ok()? {
        if let Some(value) = lent.state.get(plugin, &key).await.ok()? {
            state.insert(key, value);
        }
    }
    Some(state)
}
