//! Coloured output.

use std::io::IsTerminal;

/// The colour setting of one output stream: `true` if its output is coloured.
#[derive(Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Returns the colour setting for a stream.
    pub(crate) fn on(stream: &impl IsTerminal) -> Paint {
        Paint(program::has_colours(stream))
    }

    pub(crate) fn success(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(crate) fn failure(self, text: &str) -> String {
        self.with("1;31", text)
    }

    pub(crate) fn warning(self, text: &str) -> String {
        self.with("33", text)
    }

    pub(crate) fn dim(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
