//! A plugin's counters since the start of the host, or since the plugin was added.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The outcome of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallOutcome {
    Answered,
    /// An error that the plugin returned. It counts as a success of the plugin.
    Refused,
    /// A call that did not run, because a limit was reached.
    Busy,
    /// A call that did not run, because its payload is invalid.
    Invalid,
    DeadlineExceeded,
    OutOfMemory,
    Trapped,
    HostFault,
    BadAnswer,
}

/// The number of calls by outcome, and other figures of a plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Calls that the plugin answered.
    pub answered: u64,
    /// Calls that the plugin answered with an error.
    pub refused: u64,
    /// Calls that did not run, because a limit was reached.
    pub busy: u64,
    /// Calls that did not run, because their payload was invalid.
    pub invalid: u64,
    /// Calls that were stopped at their deadline.
    pub deadline_exceeded: u64,
    /// Calls that exceeded their memory limit.
    pub out_of_memory: u64,
    /// Calls that trapped.
    pub trapped: u64,
    /// Calls that a panic in the host ended.
    #[serde(default)]
    pub host_fault: u64,
    /// Calls with an invalid answer.
    pub bad_answer: u64,
    /// Calls that were rejected because the plugin accepted no calls.
    pub disabled: u64,
    /// Total duration of all calls that ran, in milliseconds.
    pub total_ms: u64,
    /// Duration of the longest call, in milliseconds.
    pub longest_ms: u64,
    /// Peak memory of a single call, in bytes.
    pub memory_bytes: u64,
    /// Activations of a new version.
    pub swaps: u64,
    /// Rollbacks to the previous version.
    pub rollbacks: u64,
    /// Number of times that the plugin was disabled after failures.
    pub disables: u64,
    #[serde(skip)]
    total: Duration,
}

impl Counters {
    /// Counts a call that ended.
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

    /// Counts a call that was rejected because the plugin accepts no calls.
    pub(super) fn rejected(&mut self) {
        self.disabled += 1;
    }

    /// Returns the number of calls that ran and ended without an answer of the plugin.
    #[must_use]
    pub fn failed(&self) -> u64 {
        let more = [self.out_of_memory, self.trapped, self.host_fault, self.bad_answer];
        // A client receives these numbers over a socket and does not trust them.
        more.into_iter().fold(self.deadline_exceeded, u64::saturating_add)
    }

    /// Returns the error codes of calls without an answer of the plugin, with their number.
    pub(crate) fn by_error(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let errors = self.by_outcome().filter(|(outcome, _)| *outcome != "answered");
        errors.filter(|(_, count)| *count > 0)
    }

    /// Returns the outcomes of calls with their number.
    pub(crate) fn by_outcome(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = [
            ("answered", self.answered),
            ("refused", self.refused),
            ("deadline-exceeded", self.deadline_exceeded),
            ("out-of-memory", self.out_of_memory),
            ("trapped", self.trapped),
            ("host-fault", self.host_fault),
            ("bad-answer", self.bad_answer),
            ("invalid", self.invalid),
            ("busy", self.busy),
            ("disabled", self.disabled),
        ];
        counts.into_iter()
    }

    /// Returns the number of calls that ran.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.answered.saturating_add(self.refused).saturating_add(self.failed())
    }

    /// Returns the mean duration of a call, in milliseconds.
    #[must_use]
    pub fn mean_ms(&self) -> u64 {
        self.total_ms.checked_div(self.calls()).unwrap_or(0)
    }
}
