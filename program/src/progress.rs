//! A line that says what is being waited for, on a terminal only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Tells as long as it lives; then the line is gone.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// Begins to tell.
    #[must_use]
    pub fn new(what: &str) -> Progress {
        // indicatif draws on standard error, and on a terminal only.
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        let bar = ProgressBar::new_spinner().with_message(what.to_owned());
        bar.set_style(style.expect("the template is right"));
        bar.enable_steady_tick(Duration::from_millis(100));
        Progress(bar)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
