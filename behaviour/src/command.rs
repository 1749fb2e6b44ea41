//! The commands, one a file: each reads its arguments, calls the library, and
//! says how it went.

pub(crate) mod build;
pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod completions;
mod component;
pub(crate) mod new;
mod paint;
mod progress;
pub(crate) mod setup;
pub(crate) mod test;
mod values;
pub(crate) mod watch;

use std::error::Error;
use std::io::Write;

use program::{chain, note};

/// The command line asks for something that cannot be meant; clap's own code.
pub(crate) const USAGE: u8 = 2;

/// A file is no plugin that a host would load.
pub(crate) const NOT_LOADED: u8 = 3;

/// One line with the error and its causes, and one with the way out.
pub(crate) fn complain(error: &(dyn Error + 'static), hint: Option<&str>) {
    note(format_args!("error: {}", chain(error)));
    if let Some(hint) = hint {
        note(format_args!("hint: {hint}"));
    }
}

/// A line on standard output. Whoever reads it may have heard enough.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
