//! A line that shows what the program is waiting for.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A line with a spinner, a message and the elapsed time. Dropping it removes the line.
/// Nothing is shown if standard error is not a terminal.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Shows `text` until the value is dropped.
    #[must_use]
    pub fn new(text: &str) -> Progress {
        // indicatif draws on standard error, and only if that is a terminal.
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        let bar = ProgressBar::new_spinner().with_message(text.to_owned());
        bar.set_style(style.expect("the template is valid"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }

    /// Shows another text.
    pub fn set(&self, text: &str) {
        self.0.set_message(text.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
