//! State of one call, stored in its `Store` and dropped with it.

use super::http::Http;
use super::log::CallLog;
use super::memory::{CallMemory, PluginMemory};
use super::wasi::Wasi;
use crate::about::About;
use crate::budget::BudgetExhausted;
use crate::ticker::TICK;
use crate::{BootOutcome, Call, Capability, HostError, Lent};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct CallState {
    pub(crate) plugin: Arc<About>,
    pub(crate) lent: Arc<Lent>,
    pub(crate) log: Arc<CallLog>,
    pub(crate) memory: CallMemory,
    pub(crate) deadline: Instant,
    pub(crate) attempt: u32,
    pub(crate) boot_outcome: BootOutcome,
    pub(crate) trace_parent: Option<String>,
    /// `None` unless the plugin imports WASI.
    pub(crate) wasi: Option<Box<Wasi>>,
    /// `None` unless the plugin has the capability `http`.
    pub(crate) http: Option<Box<Http>>,
    busy_ticks_left: u128,
    reports_left: u32,
    messages_left: u32,
    state_changes_left: u32,
    jobs_left: u32,
}

impl CallState {
    pub(crate) fn new(
        plugin: &Arc<About>,
        call: &Call<'_>,
        time_limit: Duration,
        plugin_memory: &Arc<PluginMemory>,
    ) -> Result<CallState, BudgetExhausted> {
        let limits = &plugin.limits;
        let memory = CallMemory::begin(limits, plugin_memory)?;
        let log = Arc::new(CallLog::new(plugin, call));
        Ok(CallState {
            plugin: Arc::clone(plugin),
            lent: Arc::clone(&call.lent),
            memory,
            deadline: Instant::now() + time_limit,
            attempt: call.attempt,
            boot_outcome: call.boot_outcome,
            trace_parent: call.trace_parent.clone(),
            http: plugin
                .imports
                .capabilities
                .contains(&Capability::Http)
                .then(|| Box::new(Http::new(plugin, call, &log, &plugin_memory.budget))),
            wasi: plugin.imports.wasi.then(|| Box::new(Wasi::new(&log, &call.lent.clock))),
            busy_ticks_left: time_limit.as_millis().div_ceil(TICK.as_millis()),
            reports_left: limits.reports,
            messages_left: limits.messages,
            state_changes_left: limits.state_changes,
            jobs_left: limits.jobs,
            log,
        })
    }

    /// Returns the time until the deadline.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Counts one tick of the engine while the guest computes. Returns `false` after as
    /// many ticks as fit into the time limit. The call's timer usually fires first, but a
    /// virtual clock does not advance while a guest loops.
    pub(crate) fn can_continue(&mut self) -> bool {
        self.busy_ticks_left = self.busy_ticks_left.saturating_sub(1);
        self.busy_ticks_left > 0
    }

    pub(crate) fn count_report(&mut self) -> Result<(), HostError> {
        count(&mut self.reports_left, "twin changes")
    }

    pub(crate) fn count_message(&mut self) -> Result<(), HostError> {
        count(&mut self.messages_left, "messages")
    }

    pub(crate) fn count_state_change(&mut self) -> Result<(), HostError> {
        count(&mut self.state_changes_left, "state changes")
    }

    pub(crate) fn count_job(&mut self) -> Result<(), HostError> {
        count(&mut self.jobs_left, "jobs")
    }
}

fn count(left: &mut u32, what: &str) -> Result<(), HostError> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| HostError::QuotaExceeded(format!("limit of {what} in one call reached")))?;
    Ok(())
}
