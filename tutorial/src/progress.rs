//! The line that shows the current step of the tutorial.
//!
//! A terminal shows one line, which is overwritten; a log gets a new line every ten
//! seconds.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Interval between two lines in a log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The progress of one step.
pub(crate) struct Progress {
    step: &'static str,
    total: usize,
    started: Instant,
    next_line: Duration,
}

impl Progress {
    /// Announces a step.
    pub(crate) fn start(step: &'static str) -> Progress {
        say(step, "\n");
        Progress { step, total: 0, started: Instant::now(), next_line: LOG_INTERVAL }
    }

    /// Sets the number of crates.
    pub(crate) fn set_total(&mut self, crates: usize) {
        self.total = crates;
    }

    /// Shows the number of compiled crates: always on a terminal, once per interval in a log.
    pub(crate) fn show(&mut self, done: usize) {
        let elapsed = self.started.elapsed();
        let text = counted(self.step, done, self.total, elapsed);
        if io::stdout().is_terminal() {
            say(&text, "\r");
        } else if elapsed >= self.next_line {
            self.next_line = elapsed + LOG_INTERVAL;
            say(&text, "\n");
        }
    }

    /// Shows that the step is done.
    pub(crate) fn end(self, done: usize) {
        say(&counted(self.step, done, done, self.started.elapsed()), "\n");
    }
}

/// Returns a line that fits a terminal. `total` is 0 if it is unknown.
fn counted(step: &str, done: usize, total: usize, elapsed: Duration) -> String {
    let total = total.max(done);
    format!("{step}: {done} of {total} crates after {} s", elapsed.as_secs())
}

/// Prints a line in the format of the play, which starts with the speaker.
fn say(text: &str, end: &str) {
    let mut out = io::stdout().lock();
    let printed = match out.is_terminal() {
        true => write!(out, "\x1b[K\x1b[2mtutorial \x1b[0m {text}{end}"),
        false => write!(out, "tutorial  {text}{end}"),
    };
    // A closed standard output does not end the tutorial.
    let _ = printed.and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_the_step_and_its_progress() {
        let line = |done, total| counted("step 1 of 3", done, total, Duration::from_millis(2_900));
        assert_eq!(line(20, 280), "step 1 of 3: 20 of 280 crates after 2 s");
        assert_eq!(line(20, 0), "step 1 of 3: 20 of 20 crates after 2 s");
    }
}
