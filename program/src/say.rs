//! Lines on standard output and standard error, either of which may be closed.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::process;

/// Writes a line of a command's result to standard output.
///
/// If the reader has closed it, as `head` does, the process ends with exit code 0:
/// nobody wants the rest. If it cannot be written for another reason, such as a full
/// disk, that is reported and the process ends with 1.
#[expect(
    clippy::disallowed_methods,
    reason = "a result that nobody reads ends the command, wherever it is"
)]
pub fn say(line: impl Display) {
    let mut output = io::stdout().lock();
    let Err(error) = writeln!(output, "{line}").and_then(|()| output.flush()) else { return };
    match error.kind() {
        ErrorKind::BrokenPipe => process::exit(0),
        _ => {
            note(format_args!("error: standard output: {error}"));
            process::exit(1);
        }
    }
}

/// Writes a line for people to standard error. If that is closed, nothing is left to
/// be done.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
