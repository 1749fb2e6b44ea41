//! Counters of a plugin since the start of the host.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    Answered,
    /// The plugin's own no, which is an answer too.
    Refused,
    /// It was not run: too many are running.
    Busy,
    /// It was not run: its payload is not one.
    Invalid,
    DeadlineExceeded,
    OutOfMemory,
    Trapped,
    HostFault,
    BadAnswer,
}

/// Calls by outcome, and all else that is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counters {
    /// Answered by the plugin.
    pub answered: u64,
    /// Refused by the plugin.
    pub refused: u64,
    /// Not run: too many were running.
    pub busy: u64,
    /// Not run: their payload was none.
    pub invalid: u64,
    /// Stopped at their deadline.
    pub deadline_exceeded: u64,
    /// Out of memory.
    pub out_of_memory: u64,
    /// Trapped.
    pub trapped: u64,
    /// Ended by a panic in the host.
    #[serde(default)]
    pub host_fault: u64,
    /// Their answer was none.
    pub bad_answer: u64,
    /// Calls that were answered `disabled`.
    pub disabled: u64,
    /// The time of all calls that were run.
    pub total_ms: u64,
    /// The longest call.
    pub longest_ms: u64,
    /// The most memory that one call has used.
    pub memory_bytes: u64,
    /// New versions that took over.
    pub swaps: u64,
    /// Versions that were put back.
    pub rollbacks: u64,
    /// Times that it was disabled after failures.
    pub disables: u64,
    #[serde(skip)]
    total: Duration,
}

impl Counters {
    pub(super) fn ended(&mut self, outcome: CallOutcome, elapsed: Duration, memory_bytes: u64) {
        let count = match outcome {
            CallOutcome::Answered => &mut self.answered,
            CallOutcome::Refused => &mut self.refused,
            CallOutcome::Busy => &mut self.busy,
            CallOutcome::Invalid => &mut self.invalid,
            CallOutcome::DeadlineExceeded => &mut self.deadline_exceeded,
            CallOutcome::OutOfMemory => &mut self.out_of_memory,
            CallOutcome::Trapped => &mut self.trapped,
            CallOutcome::HostFault => &mut self.host_fault,
            CallOutcome::BadAnswer => &mut self.bad_answer,
        };
        *count += 1;
        let whole_ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if matches!(outcome, CallOutcome::Busy | CallOutcome::Invalid) {
            return;
        }
        self.total += elapsed;
        self.total_ms = whole_ms(self.total);
        self.longest_ms = self.longest_ms.max(whole_ms(elapsed));
        self.memory_bytes = self.memory_bytes.max(memory_bytes);
    }

    pub(super) fn turned_away(&mut self) {
        self.disabled += 1;
    }

    /// Calls that ended without an answer of the plugin after they were begun.
    #[must_use]
    pub fn failed(&self) -> u64 {
        let more = [self.out_of_memory, self.trapped, self.host_fault, self.bad_answer];
        // A client has these numbers from a program that may only say that it is a host.
        more.into_iter().fold(self.deadline_exceeded, u64::saturating_add)
    }

    /// Calls that were run.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.answered.saturating_add(self.refused).saturating_add(self.failed())
    }

    /// Returns the mean duration of a call.
    #[must_use]
    pub fn mean_ms(&self) -> u64 {
        self.total_ms.checked_div(self.calls()).unwrap_or(0)
    }
}
