//! Input, output and error reporting that all programs of this workspace share.
//!
//! Every program parses durations, logs, waits for signals, and reports a failure with an
//! exit code, an error line and at most one hint line. This crate implements each of these
//! once, so that all programs behave alike.
//!
//! ```
//! use std::time::Duration;
//!
//! use behaviour_program::{chain, duration};
//!
//! assert_eq!(duration::parse("1m 30s"), Ok(Duration::from_secs(90)));
//! let error = duration::parse("soon").unwrap_err();
//! assert_eq!(
//!     chain(&error).to_string(),
//!     "invalid duration `soon`: expected a value such as 20s, 500ms or 1h 30m"
//! );
//! ```
//!
//! `cargo run -p behaviour-program --example wait -- 5s` runs a complete program.
//!
//! # Layout
//!
//! * [`CommandError`]: the error of a failed command, with its kind, causes and hints, and an
//!   example of its use.
//! * [`parse`]: the parts that all command lines share, such as `--color`, `--version` and
//!   [`Completions`] (feature `command-line`).
//! * [`has_colours`]: the setting of colours.
//! * [`counted`]: a number with a noun.
//! * [`chain`]: an error and its causes on one line.
//! * [`duration`]: the grammar of durations in options and configuration files.
//! * [`log()`]: logging of `tracing` events to standard error, which never blocks the program,
//!   with a [`LogFilter`]. [`lost_lines`] counts the lines that it has dropped, and
//!   [`forward_log`] passes the same events on to a receiver.
//! * [`say`] and [`note`]: lines on standard output and standard error, and [`while_read`] for
//!   commands that wait for something to print.
//! * [`Signals`]: Ctrl-C and SIGTERM.
//! * [`FileStamp`]: detection of changed files by their metadata.
//! * [`open()`]: regular files, without waiting for the writer of a pipe.
//! * [`text`]: text from files, standard input and environment variables.
//! * [`toml_text`]: TOML with all of its errors (feature `toml`), and [`FormatWords`] for errors
//!   about types.
//! * [`allow_open_files`]: the limit on open files.
//! * [`Progress`]: a line that shows what the program is waiting for (feature `progress`).
//!
//! This crate reads no configuration: each program defines its own options and keys. It depends on
//! no other crate of the workspace. The `plugin` crate does not use it, because a library does not
//! report errors to the user itself.

mod chain;
mod command_error;
#[cfg(feature = "command-line")]
mod command_line;
mod counted;
pub mod duration;
mod file_stamp;
mod log;
mod open;
mod open_files;
mod output;
#[cfg(feature = "progress")]
mod progress;
mod say;
mod signals;
pub mod text;
#[cfg(feature = "toml")]
pub mod toml_text;
mod words;

pub use chain::chain;
pub use command_error::{Classify, CommandError, ExitKind};
#[cfg(feature = "command-line")]
pub use command_line::{BuildInfo, Completions, candidates, definition, parse};
pub use counted::counted;
pub use file_stamp::FileStamp;
pub use log::{
    EventFields, Forwarding, Log, LogFilter, LogFilterError, LogForwarder, LogReceiver, LogWriter,
    forward_log, log, lost_lines,
};
pub use open::open;
pub use open_files::allow_open_files;
pub use output::has_colours;
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use say::{note, say, while_read};
pub use signals::Signals;
pub use words::{FormatWords, JSON_WORDS, TOML_WORDS};
