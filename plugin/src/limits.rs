//! Every limit of a plugin: its default, and why it is that.
//!
//! All are on from the start; the operator may move each one for each plugin.
//! What the engine as a whole may use is in [`EngineSettings`](crate::EngineSettings).

use std::collections::BTreeMap;
use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Longest deadline of a call: IoT Hub waits no longer, so a later answer reaches no
/// caller.
pub const MAX_DEADLINE: Duration = Duration::from_secs(300);

/// The limits of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest time of a call, by the wall clock. 30 s is what IoT Hub
    /// waits for an answer unless the caller says otherwise.
    pub deadline: Duration,

    /// The deadlines of methods that differ from it, by name.
    pub deadlines: BTreeMap<String, Duration>,

    /// Linear memory of one call, summed over its memories. A compiled guest
    /// lives in 1 MiB, Go and QuickJS in 4, StarlingMonkey in 10, CPython in
    /// 13: 64 leaves each of them room to work.
    pub memory_bytes: usize,

    /// Elements of one table. The largest guest seen, CPython, has 8,000
    /// functions; the engine's pool has room for 20,000.
    pub table_elements: usize,

    /// Calls at once. A sleeping call costs some 50 KiB, so a hundred sleepers are
    /// ordinary; more than this is a flood, whose callers are better refused at once.
    pub calls_at_once: usize,

    /// A method's payload as JSON text. IoT Hub takes 128 KiB and no more.
    pub payload_bytes: usize,

    /// An answer's payload as JSON text. The same bound holds the other way.
    pub answer_bytes: usize,

    /// A component's file. CPython's is 18 MB; compiling more takes minutes and
    /// gigabytes on a device.
    pub component_bytes: usize,

    /// The longest time of compiling, once; the next load finds it compiled.
    /// CPython takes a minute on a small device.
    pub compile_time: Duration,

    /// Lines that one call may write to the log, standard output included. Enough for a
    /// method that logs each step, too few to wear out a flash card.
    pub log_lines: u32,

    /// Bytes that one call may write to the log.
    pub log_bytes: usize,

    /// Bytes of one line of the log, fields included; the rest is cut off.
    pub log_line_bytes: usize,

    /// Changes of the twin that one call may report. The hub throttles a device
    /// long before: an S1 unit allows ten a second for all devices together.
    pub reports: u32,

    /// One change of the twin as JSON text. IoT Hub keeps at most 32 KiB of
    /// reported properties.
    pub report_bytes: usize,

    /// Messages that one call may send.
    pub messages: u32,

    /// One message with its properties. IoT Hub takes 256 KiB.
    pub message_bytes: usize,

    /// The size of the plugin's state, all keys and values together. It is kept on
    /// disk and rewritten at each change: a place for marks and counters.
    pub state_bytes: usize,

    /// One value that it remembers.
    pub state_value_bytes: usize,

    /// Changes of its state that one call may make. Each is written to disk.
    pub state_changes: u32,

    /// Jobs of the plugin that may wait at once, whichever calls asked for them,
    /// and how many one call may ask for.
    pub jobs: u32,

    /// The attempts of one job, unless the plugin rejects it before. With the
    /// host's waits, which double from 1 s to 5 min, ten tries last some ten
    /// minutes: longer than a restart of what the job needs, and no work for ever.
    pub job_attempts: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            deadline: Duration::from_secs(30),
            deadlines: BTreeMap::new(),
            memory_bytes: 64 * MIB,
            table_elements: 20_000,
            calls_at_once: 128,
            payload_bytes: 128 * KIB,
            answer_bytes: 128 * KIB,
            component_bytes: 64 * MIB,
            compile_time: Duration::from_secs(300),
            log_lines: 200,
            log_bytes: 64 * KIB,
            log_line_bytes: 4 * KIB,
            reports: 100,
            report_bytes: 32 * KIB,
            messages: 100,
            message_bytes: 256 * KIB,
            state_bytes: MIB,
            state_value_bytes: 64 * KIB,
            state_changes: 100,
            jobs: 64,
            job_attempts: 10,
        }
    }
}

impl Limits {
    /// Returns the deadline of a method.
    pub fn deadline_of(&self, method: &str) -> Duration {
        self.deadlines.get(method).copied().unwrap_or(self.deadline)
    }

    /// Checks that the limits make sense: some time, memory and calls, and no deadline
    /// beyond the hub's own. [`Engine::load`](crate::Engine::load) calls this too.
    pub fn check(&self) -> Result<(), LimitError> {
        check_deadline("deadline", self.deadline)?;
        for (method, deadline) in &self.deadlines {
            check_deadline(method, *deadline)?;
        }
        let sizes = [
            ("memory_bytes", self.memory_bytes),
            ("calls_at_once", self.calls_at_once),
            ("payload_bytes", self.payload_bytes),
            ("answer_bytes", self.answer_bytes),
            ("component_bytes", self.component_bytes),
            ("job_attempts", self.job_attempts as usize),
        ];
        match sizes.iter().find(|(_, size)| *size == 0) {
            Some((name, _)) => Err(LimitError::Zero(name)),
            None => Ok(()),
        }
    }
}

fn check_deadline(name: &str, found: Duration) -> Result<(), LimitError> {
    if found.is_zero() || found > MAX_DEADLINE {
        return Err(LimitError::Deadline { name: name.to_owned(), found });
    }
    Ok(())
}

/// A limit that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// `name` is the method's, or `deadline` for that of all the others.
    #[error("`{name}` is {found:?}, not between 1 ms and {MAX_DEADLINE:?}")]
    Deadline {
        /// The method's name, or `deadline`.
        name: String,
        /// The configured time.
        found: Duration,
    },
    /// With it the plugin could never run.
    #[error("`{0}` is zero")]
    Zero(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_pass_their_own_check() {
        Limits::default().check().unwrap();
    }

    #[test]
    fn a_method_has_its_own_deadline_where_one_is_set() {
        let minute = Duration::from_secs(60);
        let limits =
            Limits { deadlines: BTreeMap::from([("slow".into(), minute)]), ..Limits::default() };

        assert_eq!(limits.deadline_of("slow"), minute);
        assert_eq!(limits.deadline_of("other"), limits.deadline);
    }

    #[test]
    fn a_deadline_that_nobody_waits_for_is_refused_by_name() {
        let limits = Limits {
            deadlines: BTreeMap::from([("slow".into(), Duration::from_secs(301))]),
            ..Limits::default()
        };

        let error = limits.check().unwrap_err().to_string();
        assert_eq!(error, "`slow` is 301s, not between 1 ms and 300s");
    }
}
