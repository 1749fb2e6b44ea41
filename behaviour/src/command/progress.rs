//! Progress of a build on standard error, shown as a spinner on a terminal and as plain
//! lines elsewhere.

use std::io::{IsTerminal, stderr};

use parking_lot::Mutex;
use program::{Progress, note};

/// A display of the steps of a build, one line each. On a terminal, a spinner below the
/// last line shows how long that step has taken.
pub(crate) struct BuildProgress {
    terminal: bool,
    last: Mutex<Option<(String, Progress)>>,
}

impl BuildProgress {
    pub(crate) fn new() -> BuildProgress {
        BuildProgress { terminal: stderr().is_terminal(), last: Mutex::new(None) }
    }

    pub(crate) fn show(&self, line: &str) {
        if !self.terminal {
            note(format_args!("{line}"));
            return;
        }
        let mut last = self.last.lock();
        if last.as_ref().is_some_and(|(step, _)| is_reminder(line, step)) {
            return;
        }
        // Dropping the spinner erases it. This must happen before the next line is written.
        *last = None;
        note(format_args!("{line}"));
        *last = Some((line.to_owned(), Progress::new(line)));
    }
}

/// Returns `true` if `line` only repeats `step` with the elapsed time: `compiling door: 10 s`.
fn is_reminder(line: &str, step: &str) -> bool {
    let rest = line.strip_prefix(step).and_then(|rest| rest.strip_prefix(": "));
    rest.and_then(|rest| rest.strip_suffix(" s"))
        .is_some_and(|seconds| !seconds.is_empty() && seconds.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reminders_are_omitted() {
        assert!(is_reminder("compiling door: 10 s", "compiling door"));
        for line in ["compiling door", "compiling door: warning", "compiling lock: 10 s"] {
            assert!(!is_reminder(line, "compiling door"), "{line}");
        }
    }
}
