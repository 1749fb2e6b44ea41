//! Output of lines to standard output and standard error, both of which can be closed.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write as _};
use std::process;

/// Writes a line of a command's result to standard output.
///
/// If the reader has closed the pipe, as `head` does, the process exits with code 0, since
/// the rest of the output is not wanted. If writing fails for another reason, such as a full
/// disk, the error is reported and the process exits with code 1.
#[expect(
    clippy::disallowed_methods,
    reason = "a closed standard output ends the command from any call site"
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

/// Writes a line for the user to standard error. Errors are ignored because they cannot be
/// reported.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
