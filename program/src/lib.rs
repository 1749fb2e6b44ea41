//! The edges that all programs of this workspace share.
//!
//! A program parses durations, logs, waits for signals, and ends with an exit
//! code and at most two lines that say what went wrong. Each of these is written
//! once, here, so that all programs behave alike.
//!
//! # Layout
//!
//! * [`complain`]: an error and a hint, for people.
//! * [`duration`]: the grammar of durations in options and configuration files.
//! * [`log`]: events of `tracing` on standard error.
//! * [`Signals`]: Ctrl-C and SIGTERM.
//! * [`allow_open_files`]: the limit of open files.
//! * [`Progress`]: a line that says what is being waited for (feature `progress`).
//!
//! This crate parses no command line and reads no configuration: options and
//! keys belong to the program that has them. It depends on no other crate of the
//! workspace. The `plugin` crate does not use it, since a library has no edges.

mod complain;
pub mod duration;
mod log;
mod open_files;
#[cfg(feature = "progress")]
mod progress;
mod signals;

pub use complain::complain;
pub use log::log;
pub use open_files::allow_open_files;
#[cfg(feature = "progress")]
pub use progress::Progress;
pub use signals::Signals;
