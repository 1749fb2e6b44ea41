//! One call: a fresh store, a fresh instance, one answer or one error.
//!
//! Whatever of a plugin is called, it goes the same way, [`Plugin::run`].
//! Nothing of a call outlives it, and dropping its future ends it: the instance
//! goes back to the pool, the permit to the plugin.

use super::{Loaded, Plugin};
use crate::call::memory::{Exceeded, MemoryRefusal};
use crate::call::state::CallState;
use crate::error::{on_one_line, one_line};
use crate::interfaces::Response;
use crate::{Answer, Call, CallError, JobError, Limits};
use futures_util::FutureExt as _;
use json::Json;
use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Handles that a guest may hold at once; the default of wasmtime is 100,000. Each
/// takes memory of the host.
const COMPONENT_HANDLES: usize = 1_000;

/// The bytes that one call of a guest's function may pass out of its memory. More than
/// any limit on a single argument, so that the error which names that limit comes
/// first; but a list may repeat one long text a million times.
const HANDED_OUT_BYTES: usize = 8 * 1024 * 1024;

/// A plugin is called from within a tokio runtime with time.
impl Plugin {
    /// Calls a method.
    pub async fn invoke(&self, call: Call<'_>) -> Result<Answer, CallError> {
        let linked = self.loaded.linked();
        let function = async |store: &mut Store<CallState>| {
            let pre = &linked.behaviour;
            let guest = pre.instantiate_async(&mut *store).await.map_err(Ended::AtStart)?;
            let payload = call.payload.to_owned();
            let methods = guest.device_behaviour_methods();
            methods.call_invoke(store, call.method, &payload).await.map_err(Ended::InCall)
        };
        match self.run(&call, function).await? {
            Ok(response) => answer(response, &self.loaded.about.limits),
            Err(refusal) => Err(CallError::Refused(refusal.into())),
        }
    }

    /// Runs a job: [`Call::method`] is its name.
    pub async fn run_job(&self, call: Call<'_>) -> Result<Result<(), JobError>, CallError> {
        let linked = self.loaded.linked();
        let pre = linked.deferred.as_ref().ok_or(CallError::NoExport("deferred"))?;
        let function = async |store: &mut Store<CallState>| {
            let guest = pre.instantiate_async(&mut *store).await.map_err(Ended::AtStart)?;
            let payload = call.payload.to_owned();
            let deferred = guest.device_behaviour_deferred();
            deferred.call_run(store, call.method, &payload).await.map_err(Ended::InCall)
        };
        Ok(self.run(&call, function).await?.map_err(JobError::from))
    }

    /// Calls `desired.changed` with the patch in the call's payload, which leads to
    /// this version of the desired properties.
    pub async fn desired_changed(
        &self,
        call: Call<'_>,
        version: u64,
    ) -> Result<Result<(), JobError>, CallError> {
        let linked = self.loaded.linked();
        let pre = linked.desired.as_ref().ok_or(CallError::NoExport("desired"))?;
        let function = async |store: &mut Store<CallState>| {
            let guest = pre.instantiate_async(&mut *store).await.map_err(Ended::AtStart)?;
            let payload = call.payload.to_owned();
            let desired = guest.device_behaviour_desired();
            desired.call_changed(store, &payload, version).await.map_err(Ended::InCall)
        };
        Ok(self.run(&call, function).await?.map_err(JobError::from))
    }

    /// Calls `lifecycle.start` of a version that takes over. The inner error is the
    /// plugin's refusal in its own words, which are not escaped.
    pub async fn start(
        &self,
        call: Call<'_>,
        previous_version: Option<&str>,
    ) -> Result<Result<(), String>, CallError> {
        let linked = self.loaded.linked();
        let pre = linked.lifecycle.as_ref().ok_or(CallError::NoExport("lifecycle"))?;
        let function = async |store: &mut Store<CallState>| {
            let guest = pre.instantiate_async(&mut *store).await.map_err(Ended::AtStart)?;
            let lifecycle = guest.device_behaviour_lifecycle();
            lifecycle.call_start(store, previous_version).await.map_err(Ended::InCall)
        };
        self.run(&call, function).await
    }

    /// Calls `lifecycle.stop` of a version that leaves.
    pub async fn stop(&self, call: Call<'_>) -> Result<(), CallError> {
        let linked = self.loaded.linked();
        let pre = linked.lifecycle.as_ref().ok_or(CallError::NoExport("lifecycle"))?;
        let function = async |store: &mut Store<CallState>| {
            let guest = pre.instantiate_async(&mut *store).await.map_err(Ended::AtStart)?;
            guest.device_behaviour_lifecycle().call_stop(store).await.map_err(Ended::InCall)
        };
        self.run(&call, function).await
    }

    /// The one way that every call goes: through the checks, with a permit, into
    /// a store with limits, until its deadline.
    async fn run<T>(
        &self,
        call: &Call<'_>,
        function: impl AsyncFnOnce(&mut Store<CallState>) -> Result<T, Ended>,
    ) -> Result<T, CallError> {
        let loaded = &self.loaded;
        let limits = &loaded.about.limits;
        check_payload(call.payload, limits)?;
        // Tried, not awaited: a caller who waits for a permit has given up by
        // the time it gets one.
        let _permit = loaded
            .permits
            .try_acquire()
            .map_err(|_| CallError::Busy { calls_at_once: limits.calls_at_once })?;
        loaded.at_once.note(loaded.running());
        let _running = loaded.engine.ticker.running();

        let limit = limits.deadline_of(call.method);
        let mut store = loaded.store(call, limit)?;
        let deadline = store.data().deadline;
        // A panic in a function that the host lends unwinds through the guest to
        // here. It ends this call and no other: nothing of the store is used again,
        // and what the host lends locks only data that is whole at every step.
        let called = AssertUnwindSafe(tokio::time::timeout_at(deadline, function(&mut store)));
        let called = called.catch_unwind().await;
        match called.map_err(|panic| CallError::HostFault(panic_text(&*panic)))? {
            Ok(Ok(returned)) => Ok(returned),
            Ok(Err(Ended::AtStart(error))) => Err(no_instance(&error, store.data(), limit)),
            Ok(Err(Ended::InCall(error))) => Err(trapped(&error, store.data(), limit)),
            Err(_) => Err(CallError::DeadlineExceeded(limit)),
        }
    }
}

/// The stage at which a call failed.
enum Ended {
    AtStart(wasmtime::Error),
    InCall(wasmtime::Error),
}

impl Loaded {
    fn store(&self, call: &Call<'_>, limit: Duration) -> Result<Store<CallState>, CallError> {
        let state = CallState::new(&self.about, call, limit, &self.memory)
            .map_err(|lack| CallError::NoInstance(lack.to_string()))?;
        let mut store = Store::new(&self.engine.wasmtime, state);
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(COMPONENT_HANDLES);
        store.set_hostcall_fuel(HANDED_OUT_BYTES.max(2 * self.about.limits.answer_bytes));
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            Ok(match store.data_mut().may_go_on() {
                // tokio's own yield lets timers and sockets go first.
                true => UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())),
                false => UpdateDeadline::Interrupt,
            })
        });
        Ok(store)
    }
}

/// The message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}

fn check_payload(payload: &str, limits: &Limits) -> Result<(), CallError> {
    if payload.len() > limits.payload_bytes {
        return Err(CallError::PayloadTooLarge {
            bytes: payload.len(),
            limit_bytes: limits.payload_bytes,
        });
    }
    json::check(payload).map_err(CallError::PayloadNotJson)
}

fn answer(response: Response, limits: &Limits) -> Result<Answer, CallError> {
    let Response { status, payload } = response;
    if !(100..=599).contains(&status) {
        return Err(CallError::AnswerStatus(status));
    }
    let payload = match payload {
        Some(text) if text.len() > limits.answer_bytes => {
            return Err(CallError::AnswerTooLarge {
                bytes: text.len(),
                limit_bytes: limits.answer_bytes,
            });
        }
        Some(text) => Some(Json::new(text).map_err(CallError::AnswerNotJson)?),
        None => None,
    };
    Ok(Answer { status, payload })
}

/// Explains a missing instance: the pool is empty, the kernel has no more mappings, or
/// the guest failed while it started.
fn no_instance(error: &wasmtime::Error, state: &CallState, limit: Duration) -> CallError {
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::NoInstance(one_line(error));
    }
    if error.is::<io::Error>() {
        let reason = one_line(error);
        return CallError::NoInstance(format!("{reason} (the kernel's vm.max_map_count?)"));
    }
    trapped(error, state, limit)
}

fn trapped(error: &wasmtime::Error, state: &CallState, limit: Duration) -> CallError {
    match state.memory.refusal() {
        Some(MemoryRefusal::Limit) => {
            return CallError::OutOfMemory { limit_bytes: state.plugin.limits.memory_bytes };
        }
        Some(MemoryRefusal::Budget(lack)) => {
            return CallError::NoMemory { limit_bytes: lack.limit_bytes };
        }
        None => {}
    }
    if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        return CallError::Trapped(exceeded.to_string());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => CallError::DeadlineExceeded(limit),
        Some(trap) => CallError::Trapped(trap.to_string()),
        None => CallError::Trapped(cause(error, state)),
    }
}

/// The cause of a trap that is none of WebAssembly's own. The guest's frames are for its
/// author, and go into the log.
fn cause(error: &wasmtime::Error, state: &CallState) -> String {
    if let Some(frames) = error.downcast_ref::<WasmBacktrace>() {
        let frames = on_one_line(&frames.to_string());
        state.log.trapped(&frames);
    }
    match error.downcast_ref::<I32Exit>() {
        // Version 0.2 of WASI has these two ends only, whatever the number was.
        Some(I32Exit(0)) => "it ended itself by `exit`, with success".to_owned(),
        Some(I32Exit(_)) => "it ended itself by `exit`, with a failure".to_owned(),
        None => on_one_line(&error.root_cause().to_string()),
    }
}
