//! What a store carries through one call, and nothing beyond it.

use crate::call_log::CallLog;
use crate::load::Loaded;
use crate::memory::Memory;
use crate::ticker::TICK;
use crate::wasi::Wasi;
use crate::{Call, HostError, Lent};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub(crate) struct CallState {
    pub(crate) plugin: Arc<Loaded>,
    pub(crate) lent: Arc<Lent>,
    pub(crate) log: Arc<CallLog>,
    pub(crate) memory: Memory,
    pub(crate) deadline: Instant,
    /// Only for a plugin that imports WASI.
    pub(crate) wasi: Option<Box<Wasi>>,
    busy_ticks_left: u128,
    reports_left: u32,
    messages_left: u32,
}

impl CallState {
    pub(crate) fn new(plugin: &Arc<Loaded>, call: &Call<'_>, limit: Duration) -> CallState {
        let limits = &plugin.limits;
        let log = Arc::new(CallLog::new(plugin, call));
        CallState {
            plugin: Arc::clone(plugin),
            lent: Arc::clone(&call.lent),
            memory: Memory::new(limits),
            deadline: Instant::now() + limit,
            wasi: plugin.wasi.then(|| Box::new(Wasi::new(&log))),
            busy_ticks_left: limit.as_millis().div_ceil(TICK.as_millis()),
            reports_left: limits.reports,
            messages_left: limits.messages,
            log,
        }
    }

    /// Until the call is stopped.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Counts a tick of the engine that fell into the guest's own work. False
    /// when there were as many as the whole deadline has. The clock that stops
    /// calls usually comes first; but it may be a virtual one, which stands
    /// still for as long as a guest loops.
    pub(crate) fn may_go_on(&mut self) -> bool {
        self.busy_ticks_left = self.busy_ticks_left.saturating_sub(1);
        self.busy_ticks_left > 0
    }

    pub(crate) fn count_report(&mut self) -> Result<(), HostError> {
        count(&mut self.reports_left, "changes of the twin")
    }

    pub(crate) fn count_message(&mut self) -> Result<(), HostError> {
        count(&mut self.messages_left, "messages")
    }
}

fn count(left: &mut u32, what: &str) -> Result<(), HostError> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| HostError::QuotaExceeded(format!("no more {what} in this call")))?;
    Ok(())
}
