//! Coloured output. Colours are used only on a terminal, and never with `NO_COLOR` or
//! `TERM=dumb`.

use std::env;
use std::io::IsTerminal;

/// The colour setting of one output stream: `true` if its output is coloured.
#[derive(Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// Returns the colour setting for a stream, which also depends on the environment.
    pub(crate) fn on(stream: &impl IsTerminal) -> Paint {
        let disabled = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_some_and(|term| term == "dumb");
        Paint(stream.is_terminal() && !disabled)
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
