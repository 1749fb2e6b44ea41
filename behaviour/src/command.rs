//! The commands, one a file: each reads its arguments, calls the library, and
//! says how it went.

pub(crate) mod build;

use std::error::Error;

/// One line with the error and its causes, and one with the way out.
pub(crate) fn complain(error: &dyn Error, hint: Option<&str>) {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line = format!("{line}: {cause}");
        source = cause.source();
    }
    eprintln!("error: {line}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}
