//! An error and a hint, for people.

#![allow(clippy::print_stderr, reason = "complaints go to people")]

/// One line with the error and its causes, and one with the way out.
pub fn complain(error: &anyhow::Error, hint: Option<&str>) {
    eprintln!("error: {error:#}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}
