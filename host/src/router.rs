//! Routing of methods to plugins, and conversion of every outcome to one answer.
//!
//! [`Router::answer`] returns an answer, never a `Result`, because every method with a request
//! id gets exactly one answer. A call keeps the plugin version with which it began, even if
//! that version is replaced meanwhile. The router does not depend on the connection: plugins
//! reach the hub through the handles in [`Lent`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use plugin::{BootOutcome, Call, CallError, CallPermit, Json, Lent, Plugin};
use protocol::id::{MethodName, RequestId};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::ids::IdSequence;
use crate::journal::Journal;
use crate::plugins::slot::{Begun, Change, Disabled, Loaded, Slot, Version};
use crate::record::{Recorder, Selected};
use crate::supervision::caught;
use crate::trace::{Span, enter, within};
use failure::MethodFailure;
use idempotency::IdempotencyCache;
use reservations::Reservations;
use spans::{CallTracing, end_call_span};

pub(crate) use answer::Answer;
pub(crate) use reservations::{ReservedCall, Unavailable};
pub(crate) use reserved::ReservedMethods;
pub(crate) use spans::Tracing;
pub(crate) use table::{Route, Table};

mod answer;
mod failure;
mod idempotency;
mod jobs;
mod reservations;
mod reserved;
mod spans;
mod table;

/// Time limit for a call to wait until its plugin is loaded. IoT Hub's default response timeout
/// is 30 s.
const LOADING_WAIT: Duration = Duration::from_secs(10);

/// Slot of a plugin.
pub(crate) type PluginSlot = Slot<Plugin>;

/// Table of plugins, and the state that their calls share.
pub(crate) struct Router {
    table: RwLock<Arc<Table>>,
    lent: Arc<Lent>,
    /// Name of the device in log lines, if several devices share the log.
    log_name: Option<String>,
    calls: IdSequence,
    idempotency: IdempotencyCache,
    recorder: Arc<Recorder>,
    reservations: Reservations,
    tracing: CallTracing,
    draining: AtomicBool,
    /// The number of methods that no plugin serves.
    unserved: AtomicU64,
    /// The number of methods in flight.
    running: AtomicUsize,
    /// Cancels the running calls. Replaced when the host resumes after a drain.
    stopped: RwLock<CancellationToken>,
}

/// A guard that counts a method as in flight until it is dropped.
struct CallGuard<'a>(&'a AtomicUsize);

impl<'a> CallGuard<'a> {
    fn begin(running: &'a AtomicUsize) -> CallGuard<'a> {
        running.fetch_add(1, Ordering::Relaxed);
        CallGuard(running)
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Router {
    /// Creates a router. Without a journal, no answer to a repeated method survives a restart.
    pub(crate) fn new(table: Table, lent: Lent, journal: Option<Arc<Journal>>) -> Router {
        Router {
            table: RwLock::new(Arc::new(table)),
            lent: Arc::new(lent),
            log_name: None,
            calls: IdSequence::new(),
            idempotency: IdempotencyCache::new(journal),
            recorder: Arc::default(),
            reservations: Reservations::default(),
            tracing: CallTracing::default(),
            draining: AtomicBool::new(false),
            unserved: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            stopped: RwLock::default(),
        }
    }

    /// Sets the name of the device in log lines.
    pub(crate) fn with_log_name(self, log_name: Option<String>) -> Router {
        Router { log_name, ..self }
    }

    /// Returns the current table.
    pub(crate) fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.read())
    }

    /// Returns the recorder of calls.
    pub(crate) fn recorder(&self) -> &Arc<Recorder> {
        &self.recorder
    }

    /// Returns all versions, including previous ones that are kept for a rollback.
    pub(crate) fn versions(&self) -> Vec<Arc<Version<Plugin>>> {
        let table = self.table();
        let slots = table.slots().values();
        slots.flat_map(|slot| slot.view().active.into_iter().chain(slot.previous())).collect()
    }

    /// Returns the plugins of all versions.
    pub(crate) fn plugins(&self) -> Vec<Plugin> {
        self.versions().iter().map(|version| version.loaded.plugin.clone()).collect()
    }

    /// Replaces the table.
    pub(crate) fn set_table(&self, table: Table) {
        let table = Arc::new(table);
        *self.table.write() = Arc::clone(&table);
        self.lent.metrics.retain(&|plugin| table.slot(plugin).is_some());
        self.lent.log.retain(&|plugin| table.slot(plugin).is_some());
    }

    /// Creates a call with a new id.
    pub(crate) fn new_call<'a>(&self, method: &'a str, payload: &'a str) -> Call<'a> {
        let id = self.calls.text().into();
        let (attempt, boot_outcome) = (1, BootOutcome::NotWaitedFor);
        let lent = Arc::clone(&self.lent);
        Call { id, method, payload, attempt, boot_outcome, trace_parent: None, lent }
    }

    /// Notifies the jobs that a call has ended. Used for calls whose answer is not sent to the
    /// hub.
    pub(crate) fn call_ended(&self, id: &str) {
        self.lent.jobs.call_ended(id);
    }

    /// Rejects all new calls as `draining`.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Returns `true` while new calls are rejected.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Returns the number of methods that no plugin served.
    pub(crate) fn unserved(&self) -> u64 {
        self.unserved.load(Ordering::Relaxed)
    }

    /// Returns the number of methods in flight.
    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Cancels the running calls, which are answered as `draining`.
    pub(crate) fn stop_calls(&self) {
        self.stopped().cancel();
    }

    /// Accepts calls again after a drain.
    pub(crate) fn resume(&self) {
        *self.stopped.write() = CancellationToken::new();
        self.draining.store(false, Ordering::Relaxed);
    }

    /// Returns the token that cancels calls beginning now.
    fn stopped(&self) -> CancellationToken {
        self.stopped.read().clone()
    }

    /// Calls the plugin that serves the method. A repeated call gets the answer of the first
    /// call instead. An empty payload means `null`.
    /// The call that is reserved for the request id is used.
    pub(crate) async fn answer(
        &self,
        rid: &RequestId,
        method: &MethodName,
        payload: &[u8],
    ) -> Answer {
        let permit = self.reservations.take(rid);
        let table = self.table();
        let known = table.serving(method).and_then(|slot| {
            let idempotency = table.idempotency(slot.name())?;
            let key = idempotency.key(slot.name(), method.as_str(), payload)?;
            Some((slot.name(), key, idempotency))
        });
        let Some((plugin, key, idempotency)) = known else {
            return self.run(&table, permit, method, payload).await;
        };
        // Boxed because few calls have an idempotency key, and the future of every other call
        // would become larger.
        let run = Box::pin(self.run(&table, permit, method, payload));
        let (answer, is_first) = self.idempotency.answer(key, idempotency, run).await;
        if !is_first {
            let (call, status) = (&answer.call, answer.status);
            let device = self.log_name.as_deref();
            info!(device, plugin, %method, %call, status, "repeat answered like the first call");
        }
        answer
    }

    /// Calls the plugin that serves the method, without a check for repeats.
    async fn run(
        &self,
        table: &Table,
        permit: Option<CallPermit>,
        method: &MethodName,
        payload: &[u8],
    ) -> Answer {
        let _guard = CallGuard::begin(&self.running);
        let call = self.new_call(method.as_str(), "null");
        let id = Arc::clone(&call.id);
        let begun = Instant::now();
        let route = table.route(method);
        let slot = route.map(|route| &route.slot);
        let stopped = self.stopped();
        let span = self.begin_span(table.route_name(method), payload).map(Box::new);
        let context = span.as_ref().map(|span| *span.context());
        let outcome = tokio::select! {
            // Most calls end at the first poll, before they register for cancellation.
            biased;
            // The sandbox turns a panic of a plugin into a trap. A panic that arrives here is
            // the host's, and is answered as well.
            outcome = caught(within(
                span.as_deref(),
                self.call(slot, permit, call, payload, span.as_deref()),
            )) => outcome
                .unwrap_or_else(|panic| Err(MethodFailure::Call(CallError::HostFault(panic)))),
            () = stopped.cancelled() => Err(MethodFailure::Draining),
        };
        let plugin = slot.map_or("none", |slot| slot.name());
        let elapsed = begun.elapsed();
        let elapsed_ms = elapsed.as_millis();
        let device = self.log_name.as_deref();
        match outcome {
            Ok(answer) => {
                self.count(route, "answered", elapsed);
                let status = answer.status;
                end_span(span, status, None);
                enter(context, || {
                    info!(device, plugin, %method, call = %id, status, elapsed_ms, "call answered");
                });
                answer
            }
            Err(failure) => {
                let (status, error, message) = failure.to_parts(method);
                self.count(route, error, elapsed);
                end_span(span, status, Some(error));
                enter(context, || {
                    warn!(device, plugin, %method, call = %id, status, elapsed_ms, error, "{message}");
                });
                failure_answer(id, status, error, &message)
            }
        }
    }

    /// Counts the outcome of a method for the metrics.
    fn count(&self, route: Option<&Route>, outcome: &str, elapsed: Duration) {
        match route {
            Some(route) => route.meter.count(outcome, elapsed),
            None => drop(self.unserved.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Returns the answer to a method with a malformed name, which no plugin can serve.
    pub(crate) fn refuse_malformed(&self, reason: &str) -> Answer {
        let (id, status, error) = (self.calls.text().into(), 404, "unknown-method");
        self.count(None, error, Duration::ZERO);
        let device = self.log_name.as_deref();
        warn!(device, plugin = "none", call = %id, status, error, "{reason}");
        failure_answer(id, status, error, reason)
    }

    /// Waits for the plugin if it is still being loaded, then calls it.
    async fn call<'a>(
        &self,
        slot: Option<&Arc<PluginSlot>>,
        permit: Option<CallPermit>,
        mut call: Call<'a>,
        payload: &'a [u8],
        span: Option<&Span>,
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
        let span = self.begin_call_span(span, slot.name(), &mut call);
        // Recording keeps what passes through it, so it is around the handles with spans.
        let recorded = self.record(slot, &begun, &mut call, false).await;
        let method = call.method;
        let invoking = begun.version.loaded.plugin.invoke_with(call, permit);
        let outcome = within(span.as_deref(), invoking).await;
        end_call_span(span, outcome.as_ref().err());
        if let Some(recorded) = recorded {
            recorded.end_method(&outcome);
        }
        if outcome.is_ok() {
            slot.observe(&begun, method, Instant::now());
        }
        ended(slot, &begun, outcome.as_ref().err());
        let answer = outcome.map_err(MethodFailure::Call)?;
        let body = answer.payload.map_or("null".to_owned(), Json::into_text);
        Ok(Answer { status: i32::from(answer.status), body, call: id })
    }
}

impl Router {
    /// Begins to record a call if an operator has requested that.
    async fn record(
        &self,
        slot: &PluginSlot,
        begun: &Begun<Plugin>,
        call: &mut Call<'_>,
        is_job: bool,
    ) -> Option<Box<Selected>> {
        let recording = self.recorder.select(slot.name(), call.method, is_job)?;
        let Loaded { plugin, digest, settings } = &begun.version.loaded;
        // Boxed because calls are rarely recorded, and without the box the future of every call
        // would be larger.
        let begin = Selected::begin(recording, plugin, digest, settings.to_sandbox(), call, is_job);
        Some(Box::new(Box::pin(begin).await))
    }
}

/// Ends the span of a method.
fn end_span(span: Option<Box<Span>>, status: i32, error: Option<&str>) {
    if let Some(mut span) = span {
        span.set("rpc.response.status_code", status.to_string().as_str());
        span.end(error);
    }
}

/// Returns an answer with a code that programs can match, and a message.
fn failure_answer(call: Arc<str>, status: i32, error: &str, message: &str) -> Answer {
    let body = json!({"error": error, "message": message, "call": &*call});
    Answer { status, body: body.to_string(), call }
}

/// Records the end of a call in the plugin's slot, and logs a change of the plugin's health.
pub(crate) fn ended(slot: &PluginSlot, call: &Begun<Plugin>, error: Option<&CallError>) {
    let outcome = failure::outcome(error);
    let message = || error.map(CallError::message).unwrap_or_default();
    let code_and_message = || (error.map_or("", CallError::code), message());
    let memory_bytes = call.version.loaded.plugin.peak_memory_bytes() as u64;
    let plugin = slot.name();
    if let Some(CallError::HostFault(panic)) = error {
        error!(plugin, "the host panicked in a call: {panic}");
    }
    match slot.ended(call, outcome, memory_bytes, code_and_message, Instant::now()) {
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
