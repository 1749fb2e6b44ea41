//! Execution of one call: a fresh store, a fresh instance, one answer or one error.
//!
//! Every call of a plugin goes through [`Plugin::run`]. No state outlives the call.
//! Dropping the future ends the call, and returns the instance to the pool and the permit
//! to the plugin.

use super::linked::Linked;
use super::{CallPermit, Loaded, Plugin};
use crate::about::About;
use crate::call::memory::{LimitExceeded, MemoryRefusal};
use crate::call::state::CallState;
use crate::error::{on_one_line, one_line};
use crate::interfaces::Response;
use crate::{Answer, Call, CallError, JobError, Limits};
use futures_util::FutureExt as _;
use json::Json;
use std::any::Any;
use std::io;
use std::panic::AssertUnwindSafe;
use std::str::Utf8Error;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::{PoolConcurrencyLimitError, Store, Trap, UpdateDeadline, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Maximum number of handles that a guest can hold. Each uses host memory; wasmtime's
/// default is 100,000.
const COMPONENT_HANDLES: usize = 1_000;

/// Maximum number of bytes that a guest can pass to the host in one host call. It bounds lists
/// that repeat one long string many times. It exceeds every limit on a single argument, so that
/// a single large argument results in the error that names the argument's limit.
const HOST_CALL_BYTES: usize = 8 * 1024 * 1024;

/// Calls of the plugin, which must run within a tokio runtime with timers enabled.
impl Plugin {
    /// Calls the method [`Call::method`].
    pub async fn invoke(&self, call: Call<'_>) -> Result<Answer, CallError> {
        self.invoke_with(call, None).await
    }

    /// Calls the method [`Call::method`] with a permit from [`Plugin::reserve`]. A permit of
    /// another plugin is returned, and the call needs one of this plugin.
    pub async fn invoke_with(
        &self,
        call: Call<'_>,
        permit: Option<CallPermit>,
    ) -> Result<Answer, CallError> {
        let linked = self.loaded.placed()?;
        let function = async |store: &mut Store<CallState>| {
            let pre = &linked.behaviour;
            let guest =
                pre.instantiate_async(&mut *store).await.map_err(GuestError::Instantiating)?;
            let payload = call.payload.to_owned();
            let methods = guest.device_behaviour_methods();
            methods.call_invoke(store, call.method, &payload).await.map_err(GuestError::Running)
        };
        match self.run_with(permit, &linked, &call, function).await? {
            Ok(response) => answer(response, &self.loaded.about.limits),
            Err(refusal) => Err(CallError::Refused(refusal.into())),
        }
    }

    /// Runs the job [`Call::method`]. The inner error is the plugin's own.
    pub async fn run_job(&self, call: Call<'_>) -> Result<Result<(), JobError>, CallError> {
        let linked = self.loaded.placed()?;
        let pre = linked.deferred.as_ref().ok_or(CallError::NoExport("deferred"))?;
        let function = async |store: &mut Store<CallState>| {
            let guest =
                pre.instantiate_async(&mut *store).await.map_err(GuestError::Instantiating)?;
            let payload = call.payload.to_owned();
            let deferred = guest.device_behaviour_deferred();
            deferred.call_run(store, call.method, &payload).await.map_err(GuestError::Running)
        };
        Ok(self.run(&linked, &call, function).await?.map_err(JobError::from))
    }

    /// Calls `desired.changed`. The call's payload is the patch; `version` is the version
    /// of the desired properties after it. The inner error is the plugin's own.
    pub async fn desired_changed(
        &self,
        call: Call<'_>,
        version: u64,
    ) -> Result<Result<(), JobError>, CallError> {
        let linked = self.loaded.placed()?;
        let pre = linked.desired.as_ref().ok_or(CallError::NoExport("desired"))?;
        let function = async |store: &mut Store<CallState>| {
            let guest =
                pre.instantiate_async(&mut *store).await.map_err(GuestError::Instantiating)?;
            let payload = call.payload.to_owned();
            let desired = guest.device_behaviour_desired();
            desired.call_changed(store, &payload, version).await.map_err(GuestError::Running)
        };
        Ok(self.run(&linked, &call, function).await?.map_err(JobError::from))
    }

    /// Calls `messages.receive` with a cloud-to-device message, which counts as the payload. The
    /// inner error is the plugin's own.
    pub async fn receive_message(
        &self,
        call: Call<'_>,
        body: &[u8],
        properties: &[(String, String)],
    ) -> Result<Result<(), JobError>, CallError> {
        let linked = self.loaded.linked();
        let pre = linked.messages.as_ref().ok_or(CallError::NoExport("messages"))?;
        let of_properties = properties.iter().map(|(name, value)| name.len() + value.len());
        let bytes = body.len() + of_properties.sum::<usize>();
        let limit_bytes = self.loaded.about.limits.payload_bytes;
        if bytes > limit_bytes {
            return Err(CallError::PayloadTooLarge { bytes, limit_bytes });
        }
        let function = async |store: &mut Store<CallState>| {
            let guest =
                pre.instantiate_async(&mut *store).await.map_err(GuestError::Instantiating)?;
            let messages = guest.device_behaviour_messages();
            messages.call_receive(store, body, properties).await.map_err(GuestError::Running)
        };
        Ok(self.run(&linked, &call, function).await?.map_err(JobError::from))
    }

    /// Calls `lifecycle.start` of a version that replaces `previous_version`. The inner
    /// error is the plugin's own, unescaped message.
    pub async fn start(
        &self,
        call: Call<'_>,
        previous_version: Option<&str>,
    ) -> Result<Result<(), String>, CallError> {
        let linked = self.loaded.placed()?;
        let pre = linked.lifecycle.as_ref().ok_or(CallError::NoExport("lifecycle"))?;
        let function = async |store: &mut Store<CallState>| {
            let guest =
                pre.instantiate_async(&mut *store).await.map_err(GuestError::Instantiating)?;
            let lifecycle = guest.device_behaviour_lifecycle();
            lifecycle.call_start(store, previous_version).await.map_err(GuestError::Running)
        };
        self.run(&linked, &call, function).await
    }

    /// Calls `lifecycle.stop` of a version that is being replaced.
    pub async fn stop(&self, call: Call<'_>) -> Result<(), CallError> {
        let linked = self.loaded.placed()?;
        let pre = linked.lifecycle.as_ref().ok_or(CallError::NoExport("lifecycle"))?;
        let function = async |store: &mut Store<CallState>| {
            let guest =
                pre.instantiate_async(&mut *store).await.map_err(GuestError::Instantiating)?;
            guest.device_behaviour_lifecycle().call_stop(store).await.map_err(GuestError::Running)
        };
        self.run(&linked, &call, function).await
    }

    /// Runs `function` in a store with the plugin's limits, until the deadline.
    async fn run<T>(
        &self,
        linked: &Linked,
        call: &Call<'_>,
        function: impl AsyncFnOnce(&mut Store<CallState>) -> Result<T, GuestError>,
    ) -> Result<T, CallError> {
        self.run_with(None, linked, call, function).await
    }

    /// Runs `function` as [`Plugin::run`] does, with a permit.
    async fn run_with<T>(
        &self,
        permit: Option<CallPermit>,
        linked: &Linked,
        call: &Call<'_>,
        function: impl AsyncFnOnce(&mut Store<CallState>) -> Result<T, GuestError>,
    ) -> Result<T, CallError> {
        let loaded = &self.loaded;
        let limits = &loaded.about.limits;
        check_payload(call.payload, limits)?;
        // Does not wait for a permit: by the time one is released, the caller would have timed
        // out.
        let own = permit.filter(|permit| Arc::ptr_eq(permit.0.semaphore(), &loaded.permits));
        let _permit = own
            .or_else(|| self.reserve())
            .ok_or(CallError::Busy { calls_at_once: limits.calls_at_once })?;
        loaded.burst_detector.record(loaded.running());
        let _running = loaded.engine.ticker.running();

        let time_limit = limits.deadline_of(call.method);
        let store = loaded.store(linked, call, time_limit)?;
        let mut call_store = CallStore { store: Some(store), linked };
        let store = call_store.get();
        let deadline = store.data().deadline;
        // A panic in a host function unwinds through the guest to here and ends only
        // this call: the store is not used again, and data behind the host's locks is
        // consistent at every step.
        let called = AssertUnwindSafe(tokio::time::timeout_at(deadline, function(store)));
        let called = called.catch_unwind().await;
        match called.map_err(|panic| CallError::HostFault(panic_text(&*panic)))? {
            Ok(Ok(returned)) => Ok(returned),
            Ok(Err(GuestError::Instantiating(error))) => {
                Err(instantiation_error(&error, store.data(), time_limit))
            }
            Ok(Err(GuestError::Running(error))) => {
                Err(execution_error(&error, store.data(), time_limit))
            }
            Err(_) => Err(CallError::DeadlineExceeded(time_limit)),
        }
    }
}

/// Store of a call. On drop, it first returns the call's memory to the system and then to the
/// budget. A plain store would release the budget first.
struct CallStore<'a> {
    /// `None` only during drop.
    store: Option<Store<CallState>>,
    linked: &'a Linked,
}

impl CallStore<'_> {
    fn get(&mut self) -> &mut Store<CallState> {
        self.store.as_mut().expect("the store is taken only during drop")
    }
}

impl Drop for CallStore<'_> {
    fn drop(&mut self) {
        let Some(store) = self.store.take() else { return };
        let state = store.into_data();
        if state.memory.is_large() {
            self.linked.pool.release_freed_pages();
        }
    }
}

/// Error of a guest, by the stage of the call.
enum GuestError {
    Instantiating(wasmtime::Error),
    Running(wasmtime::Error),
}

impl Loaded {
    fn store(
        &self,
        linked: &Linked,
        call: &Call<'_>,
        time_limit: Duration,
    ) -> Result<Store<CallState>, CallError> {
        let state = CallState::new(&self.about, call, time_limit, &self.memory)
            .map_err(|exhausted| CallError::NoInstance(exhausted.to_string()))?;
        let mut store = Store::new(linked.component().engine(), state);
        store.limiter(|state| &mut state.memory);
        store.set_max_component_handles(COMPONENT_HANDLES);
        store.set_hostcall_fuel(self.host_call_bytes());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| {
            Ok(match store.data_mut().can_continue() {
                // tokio's `yield_now` polls timers and sockets before this task.
                true => UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now())),
                false => UpdateDeadline::Interrupt,
            })
        });
        Ok(store)
    }

    /// Returns the number of bytes that a guest can pass to the host in one host call.
    fn host_call_bytes(&self) -> usize {
        let About { limits, imports, http, .. } = &*self.about;
        let request_bytes = if imports.http { http.request_bytes } else { 0 };
        HOST_CALL_BYTES.max(2 * limits.answer_bytes).max(request_bytes.saturating_mul(2))
    }
}

/// Returns the message of a panic.
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

/// Maps an error during instantiation: the pool is exhausted, the kernel allows no more
/// mappings, or the guest trapped in its start function.
fn instantiation_error(
    error: &wasmtime::Error,
    state: &CallState,
    time_limit: Duration,
) -> CallError {
    if error.is::<PoolConcurrencyLimitError>() {
        return CallError::NoInstance(one_line(error));
    }
    if error.is::<io::Error>() {
        let reason = one_line(error);
        return CallError::NoInstance(format!(
            "{reason} (perhaps the kernel's limit vm.max_map_count)"
        ));
    }
    execution_error(error, state, time_limit)
}

/// Maps an error during the execution of the guest.
fn execution_error(error: &wasmtime::Error, state: &CallState, time_limit: Duration) -> CallError {
    match state.memory.refusal() {
        Some(MemoryRefusal::Limit { limit_bytes }) => {
            return CallError::OutOfMemory { limit_bytes };
        }
        Some(MemoryRefusal::Budget(exhausted)) => {
            return CallError::BudgetExhausted { limit_bytes: exhausted.limit_bytes };
        }
        None => {}
    }
    if let Some(exceeded) = error.downcast_ref::<LimitExceeded>() {
        return CallError::Trapped(exceeded.to_string());
    }
    // An argument of an import has a backtrace, a result does not.
    if error.is::<Utf8Error>() && !error.is::<WasmBacktrace>() {
        return CallError::AnswerNotText;
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => CallError::DeadlineExceeded(time_limit),
        Some(trap) => CallError::Trapped(trap.to_string()),
        None => CallError::Trapped(trap_cause(error, state)),
    }
}

/// Describes a trap without a [`Trap`] code, and logs the guest's backtrace for the plugin's
/// author.
fn trap_cause(error: &wasmtime::Error, state: &CallState) -> String {
    if let Some(frames) = error.downcast_ref::<WasmBacktrace>() {
        let frames = on_one_line(&frames.to_string());
        state.log.trapped(&frames);
    }
    match error.downcast_ref::<I32Exit>() {
        // WASI 0.2 reports only success or failure, not the exit code.
        Some(I32Exit(0)) => "the guest called `exit` with success".to_owned(),
        Some(I32Exit(_)) => "the guest called `exit` with a failure".to_owned(),
        None => on_one_line(&error.root_cause().to_string()),
    }
}
