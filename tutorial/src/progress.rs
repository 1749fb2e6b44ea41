//! The line that shows the current step of the tutorial.
//!
//! A terminal shows one line, which is overwritten; a log gets a new line every ten
//! seconds.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// The time between two lines of a log.
const EVERY: Duration = Duration::from_secs(10);

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
        Progress { step, total: 0, started: Instant::now(), next_line: EVERY }
    }

    /// Sets the number of crates.
    pub(crate) fn set_total(&mut self, crates: usize) {
        self.total = crates;
    }

    /// Shows how many crates are done, if it is time to.
    pub(crate) fn show(&mut self, done: usize) {
        let passed = self.started.elapsed();
        let text = counted(self.step, done, self.total, passed);
        if io::stdout().is_terminal() {
            say(&text, "\r");
        } else if passed >= self.next_line {
            self.next_line = passed + EVERY;
            say(&text, "\n");
        }
    }

    /// Shows that the step is done.
    pub(crate) fn end(self, done: usize) {
        say(&counted(self.step, done, done, self.started.elapsed()), "\n");
    }
}

/// Returns the text of a line, short enough for one of a terminal. An unknown total
/// is 0.
fn counted(step: &str, done: usize, total: usize, passed: Duration) -> String {
    let total = total.max(done);
    format!("{step}: {done} of {total} crates after {} s", passed.as_secs())
}

/// Prints in the form of the play's own lines, which have the speaker first.
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
    fn a_line_shows_the_step_and_how_much_of_it_is_done() {
        let line = |done, total| counted("step 1 of 3", done, total, Duration::from_millis(2_900));
        assert_eq!(line(20, 280), "step 1 of 3: 20 of 280 crates after 2 s");
        assert_eq!(line(20, 0), "step 1 of 3: 20 of 20 crates after 2 s");
    }
}
