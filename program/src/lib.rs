//! The edges that all programs of this workspace share.
//!
//! A program parses durations, logs, waits for signals, and ends with an exit
//! code and at most two lines that say what went wrong. Each of these is written
//! once, here, so that all programs behave alike.
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
//!     "`soon` is not a duration such as 20s, 500ms or 1h 30m"
//! );
//! ```
//!
//! `cargo run -p behaviour-program --example wait -- 5s` is a whole program with it.
//!
//! # Layout
//!
//! * [`CommandError`]: a failed command: its kind, its causes, its hints; see
//!   there for how a program uses it.
//! * [`chain`]: an error and its causes in one line.
//! * [`duration`]: the grammar of durations in options and configuration files.
//! * [`log()`]: events of `tracing` on standard error, which a reader that hangs does not stop.
//! * [`say`] and [`note`]: lines on standard output and standard error.
//! * [`Signals`]: Ctrl-C and SIGTERM.
//! * [`text`]: files, standard input and variables that people write.
//! * [`allow_open_files`]: the limit of open files.
//! * [`Progress`]: a line that says what is being waited for (feature `progress`).
//!
//! This crate parses no command line and reads no configuration: options and
//! keys belong to the program that has them. It depends on no other crate of the
//! workspace. The `plugin` crate does not use it, since a library has no edges.

mod chain;
mod command_error;
pub mod duration;
mod log;
mod open_files;
#[cfg(feature = "progress")]
mod progress;
mod say;
mod signals;
pub mod text;

pub use chain::chain;
pub use command_error::{Classify, CommandError, ExitKind};
pub use log::{Log, LogWriter, log};
pub use open_files::allow_open_files;
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use say::{note, say};
pub use signals::Signals;
