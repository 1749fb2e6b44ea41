//! Limits of a plugin, with their defaults and the reasons for them.
//!
//! All limits are enforced by default; an operator can change each of them for each plugin.
//! Limits of the whole engine are in [`EngineSettings`](crate::EngineSettings).

use std::collections::BTreeMap;
use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Maximum deadline of a call. IoT Hub waits no longer, so a later answer would reach no
/// caller.
pub const MAX_DEADLINE: Duration = Duration::from_secs(300);

/// Limits of one plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum duration of a call in wall-clock time. IoT Hub waits 30 s for an answer
    /// unless the caller sets a different timeout.
    pub deadline: Duration,

    /// Deadlines of single methods, by name. They replace `deadline`.
    pub deadlines: BTreeMap<String, Duration>,

    /// Maximum linear memory of one call in bytes, summed over its memories. A compiled guest
    /// needs 1 MiB, Go and QuickJS 4 MiB, StarlingMonkey 10 MiB and CPython 13 MiB, so the
    /// default of 64 MiB suffices for each.
    pub memory_bytes: usize,

    /// Maximum number of elements of one table. CPython, the largest guest measured, has
    /// 8,000 functions; the engine's pool supports 20,000.
    pub table_elements: usize,

    /// Maximum number of concurrent calls. A sleeping call uses about 50 KiB, so a hundred
    /// calls are normal. More calls indicate a flood and are refused immediately.
    pub calls_at_once: usize,

    /// Maximum size of a method's payload as JSON text, in bytes. IoT Hub accepts at most 128 KiB.
    pub payload_bytes: usize,

    /// Maximum size of an answer's payload as JSON text, in bytes. IoT Hub accepts at most 128 KiB.
    pub answer_bytes: usize,

    /// Maximum size of a component's file, in bytes. CPython's is 18 MB; a component above the
    /// limit would take minutes and gigabytes to compile on a device.
    pub component_bytes: usize,

    /// Maximum duration of a compilation. The result is cached, so later loads are fast.
    /// CPython takes a minute on a small device.
    pub compile_time: Duration,

    /// Maximum number of log lines of one call, including standard output. The default is
    /// enough for a method that logs each step, and does not wear out a flash card.
    pub log_lines: u32,

    /// Maximum size of all log lines of one call, in bytes.
    pub log_bytes: usize,

    /// Maximum length of a log line in bytes, including fields. Longer lines are
    /// truncated.
    pub log_line_bytes: usize,

    /// Maximum number of twin changes that one call can report. IoT Hub throttles earlier:
    /// an S1 unit allows ten per second for all devices together.
    pub reports: u32,

    /// Maximum size of one twin change as JSON text, in bytes. IoT Hub stores at most 32 KiB
    /// of reported properties.
    pub report_bytes: usize,

    /// Maximum number of messages that one call can send.
    pub messages: u32,

    /// Maximum size of a message including its properties, in bytes. IoT Hub accepts at most
    /// 256 KiB.
    pub message_bytes: usize,

    /// Maximum size of the plugin's state in bytes, including keys. The state is rewritten on disk
    /// at each change, so it suits flags and counters.
    pub state_bytes: usize,

    /// Maximum size of one value of the state, in bytes.
    pub state_value_bytes: usize,

    /// Maximum number of state changes of one call. Each is written to disk.
    pub state_changes: u32,

    /// Maximum number of series of the plugin's metrics. A series has 8 labels at most, and takes
    /// some 200 bytes, or 2 KiB with the longest names and values.
    pub metric_series: usize,

    /// Maximum number of pending jobs of the plugin, and of jobs that one call can
    /// schedule.
    pub jobs: u32,

    /// Maximum number of attempts of a job, unless the plugin rejects it earlier. The
    /// host's delays double from 1 s to 5 min, so ten attempts span about ten minutes. This
    /// outlasts a restart of a service that the job needs, but does not retry forever.
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
            metric_series: 500,
            jobs: 64,
            job_attempts: 10,
        }
    }
}

impl Limits {
    /// Returns the deadline of `method`.
    pub fn deadline_of(&self, method: &str) -> Duration {
        self.deadlines.get(method).copied().unwrap_or(self.deadline)
    }

    /// Checks that each limit leaves some time, memory and calls, and that no deadline
    /// exceeds [`MAX_DEADLINE`]. [`Engine::load`](crate::Engine::load) calls this as well.
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

/// An unusable limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// A deadline is zero or exceeds [`MAX_DEADLINE`].
    #[error("`{name}` is {found:?}, not between 1 ms and {MAX_DEADLINE:?}")]
    Deadline {
        /// Name of the method, or `deadline`.
        name: String,
        /// Configured deadline.
        found: Duration,
    },
    /// A limit is zero, so the plugin could never run.
    #[error("`{0}` is zero")]
    Zero(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limits_are_valid() {
        Limits::default().check().unwrap();
    }

    #[test]
    fn a_method_can_have_its_own_deadline() {
        let minute = Duration::from_secs(60);
        let limits =
            Limits { deadlines: BTreeMap::from([("slow".into(), minute)]), ..Limits::default() };

        assert_eq!(limits.deadline_of("slow"), minute);
        assert_eq!(limits.deadline_of("other"), limits.deadline);
    }

    #[test]
    fn a_deadline_beyond_the_maximum_is_refused_by_name() {
        let limits = Limits {
            deadlines: BTreeMap::from([("slow".into(), Duration::from_secs(301))]),
            ..Limits::default()
        };

        let error = limits.check().unwrap_err().to_string();
        assert_eq!(error, "`slow` is 301s, not between 1 ms and 300s");
    }
}
