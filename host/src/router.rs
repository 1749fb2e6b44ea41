//! Routing of methods: from a method's name to the plugin that serves it, and from any
//! outcome to one answer.
//!
//! [`Router::answer`] returns an answer, never a `Result`: a method that arrived
//! with a request id gets exactly one. A call stays on the version of its plugin
//! with which it began, even if that is replaced meanwhile. The router knows no
//! connection; the handles that plugins may reach are in [`Lent`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use plugin::{BootOutcome, Call, CallError, Json, Lent, Plugin};
use protocol::id::MethodName;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::ids::IdSequence;
use crate::journal::Journal;
use crate::plugins::slot::{Begun, Change, Disabled, Slot};
use crate::supervision::caught;
use failure::MethodFailure;
use idempotency::IdempotencyCache;

pub(crate) use answer::Answer;
pub(crate) use table::Table;

mod answer;
mod failure;
mod idempotency;
mod jobs;
mod table;

/// Time that a call waits for a plugin that is still being loaded: within the 30 s
/// after which IoT Hub gives up on a method by default.
const LOADING_WAIT: Duration = Duration::from_secs(10);

/// The place of a plugin.
pub(crate) type PluginSlot = Slot<Plugin>;

pub(crate) struct Router {
    table: RwLock<Arc<Table>>,
    lent: Arc<Lent>,
    calls: IdSequence,
    idempotency: IdempotencyCache,
    draining: AtomicBool,
    /// Cancels running calls. Replaced after a drain that the host survives.
    stopped: RwLock<CancellationToken>,
}

impl Router {
    /// Without a journal, all answers for repeated methods end with the process.
    pub(crate) fn new(table: Table, lent: Lent, journal: Option<Arc<Journal>>) -> Router {
        Router {
            table: RwLock::new(Arc::new(table)),
            lent: Arc::new(lent),
            calls: IdSequence::new(),
            idempotency: IdempotencyCache::new(journal),
            draining: AtomicBool::new(false),
            stopped: RwLock::default(),
        }
    }

    /// Returns the current table.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }

    /// Returns all plugins, including the previous versions that a rollback would need.
    pub(crate) fn plugins(&self) -> Vec<Plugin> {
        let table = self.table();
        let versions = table
            .slots()
            .values()
            .flat_map(|slot| slot.view().active.into_iter().chain(slot.previous()));
        versions.map(|version| version.made.plugin.clone()).collect()
    }

    /// Replaces the table. Returns the one before.
    pub(crate) fn set_table(&self, table: Table) -> Arc<Table> {
        let mut held = self.table.write();
        std::mem::replace(&mut held, Arc::new(table))
    }

    /// Returns a call with a new id.
    pub(crate) fn new_call<'a>(&self, method: &'a str, payload: &'a str) -> Call<'a> {
        let id = self.calls.text().into();
        let (attempt, boot_outcome) = (1, BootOutcome::NotWaitedFor);
        Call { id, method, payload, attempt, boot_outcome, lent: Arc::clone(&self.lent) }
    }

    /// Ends a call whose answer, if it has one, is not sent to the hub.
    pub(crate) fn call_ended(&self, id: &str) {
        self.lent.jobs.call_ended(id);
    }

    /// Answers new methods as draining from now on.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Ends the calls that still run; each is answered as draining.
    pub(crate) fn stop_calls(&self) {
        self.stopped().cancel();
    }

    /// Takes calls again after a drain.
    pub(crate) fn resume(&self) {
        *self.stopped.write() = CancellationToken::new();
        self.draining.store(false, Ordering::Relaxed);
    }

    fn stopped(&self) -> CancellationToken {
        self.stopped.read().clone()
    }

    /// Calls the plugin that serves the method, unless the call is a repeat of one
    /// that has its answer. `payload` is the payload from the hub; an empty
    /// one means `null`.
    pub(crate) async fn answer(&self, method: &MethodName, payload: &[u8]) -> Answer {
        let table = self.table();
        let known = table.serving(method).and_then(|slot| {
            let idempotency = table.idempotency(slot.name())?;
            let key = idempotency.key(slot.name(), method.as_str(), payload)?;
            Some((slot.name(), key, idempotency))
        });
        let Some((plugin, key, idempotency)) = known else {
            return self.run(&table, method, payload).await;
        };
        // Boxed: hardly any call needs it, and every call would reserve its size.
        let run = Box::pin(self.run(&table, method, payload));
        let (answer, is_first) = self.idempotency.answer(key, idempotency, run).await;
        if !is_first {
            let (call, status) = (&answer.call, answer.status);
            info!(plugin, %method, %call, status, "repeat answered like the first call");
        }
        answer
    }

    async fn run(&self, table: &Table, method: &MethodName, payload: &[u8]) -> Answer {
        let call = self.new_call(method.as_str(), "null");
        let id = Arc::clone(&call.id);
        let begun = Instant::now();
        let slot = table.serving(method);
        let stopped = self.stopped();
        let outcome = tokio::select! {
            // Most calls end at once, and need no listener for the end.
            biased;
            // Plugins catch their own panics; this one is the host's, and has an answer too.
            outcome = caught(self.call(slot, call, payload)) => outcome
                .unwrap_or_else(|panic| Err(MethodFailure::Call(CallError::HostFault(panic)))),
            () = stopped.cancelled() => Err(MethodFailure::Draining),
        };
        let plugin = slot.map_or("none", |slot| slot.name());
        let elapsed_ms = begun.elapsed().as_millis();
        match outcome {
            Ok(answer) => {
                let status = answer.status;
                info!(plugin, %method, call = %id, status, elapsed_ms, "call answered");
                answer
            }
            Err(failure) => {
                let (status, error, message) = failure.to_words(method);
                warn!(plugin, %method, call = %id, status, elapsed_ms, error, "{message}");
                refusal(id, status, error, &message)
            }
        }
    }

    /// Returns the answer to a method whose name is none, so that no plugin serves it.
    pub(crate) fn refuse_malformed(&self, why: &str) -> Answer {
        let (id, status, error) = (self.calls.text().into(), 404, "unknown-method");
        warn!(plugin = "none", call = %id, status, error, "{why}");
        refusal(id, status, error, why)
    }

    async fn call<'a>(
        &self,
        slot: Option<&Arc<PluginSlot>>,
        mut call: Call<'a>,
        payload: &'a [u8],
    ) -> Result<Answer, MethodFailure> {
        if self.is_draining() {
            return Err(MethodFailure::Draining);
        }
        let slot = slot.ok_or(MethodFailure::UnknownMethod)?;
        let id = Arc::clone(&call.id);
        if !payload.is_empty() {
            call.payload =
                std::str::from_utf8(payload).map_err(|_| MethodFailure::PayloadNotText)?;
        }
        let mut begun = slot.begin(Instant::now());
        if let Err(Disabled::Starting | Disabled::Loading) = begun {
            slot.until_started(LOADING_WAIT).await;
            begun = slot.begin(Instant::now());
        }
        let begun = begun.map_err(MethodFailure::Disabled)?;
        let outcome = begun.version.made.plugin.invoke(call).await;
        ended(slot, &begun, outcome.as_ref().err());
        let answer = outcome.map_err(MethodFailure::Call)?;
        let body = answer.payload.map_or("null".to_owned(), Json::into_text);
        Ok(Answer { status: i32::from(answer.status), body, call: id })
    }
}

/// Returns an answer for programs: the kind of failure, and what happened.
fn refusal(call: Arc<str>, status: i32, error: &str, message: &str) -> Answer {
    let body = json!({"error": error, "message": message, "call": &*call});
    Answer { status, body: body.to_string(), call }
}

/// Records the end of a call of any kind on its slot, and logs what changes for the
/// plugin.
pub(crate) fn ended(slot: &PluginSlot, call: &Begun<Plugin>, error: Option<&CallError>) {
    let outcome = failure::outcome(error);
    let message = || error.map(CallError::message).unwrap_or_default();
    let memory_bytes = call.version.made.plugin.peak_memory_bytes() as u64;
    let plugin = slot.name();
    if let Some(CallError::HostFault(panic)) = error {
        error!(plugin, "the host panicked in a call: {panic}");
    }
    match slot.ended(call, outcome, memory_bytes, message, Instant::now()) {
        Some(Change::RolledBack { from, to }) => {
            error!(plugin, from, to, "plugin rolled back: the new version failed its first calls");
        }
        Some(Change::Disabled(rest)) => {
            error!(
                plugin,
                ?rest,
                error = message(),
                "plugin disabled: it failed too often in a row"
            );
        }
        Some(Change::Recovered) => info!(plugin, "plugin recovered"),
        None => {}
    }
}

#[cfg(test)]
pub(crate) mod tests;
