//! Logging of `tracing` events to standard error, from a dedicated thread.
//!
//! If standard error is not read (a hanging journal, a full pipe, Ctrl-S), only the log
//! stops. Events go into a bounded queue. Lines that do not fit are dropped and counted,
//! and the count is logged once the queue has capacity again.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::Cell;
use std::io::{self, IsTerminal as _, Write, stderr};
use std::panic;
use std::sync::Arc;
use std::thread;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

use queue::LineQueue;

mod queue;

thread_local! {
    /// `true` on the log thread, whose own events bypass the queue.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// The log of this process. Dropping it waits until the queue is written, for at most one
/// second.
#[derive(Debug)]
#[must_use = "the last lines are written when it is dropped"]
pub struct Log(Arc<LineQueue>);

/// A writer to standard error that shares the queue of the log. A write does not block.
#[derive(Debug, Clone)]
pub struct LogWriter(Arc<LineQueue>);

/// Starts logging to standard error, as text or as JSON lines. Panics are logged as well.
///
/// `filter` is a level or a filter directive of `tracing`.
///
/// # Errors
///
/// Returns an error if the filter is malformed, with a message that names the option
/// `--log`, or if the log thread cannot be started.
///
/// # Panics
///
/// Panics if the process has already set a global `tracing` subscriber.
pub fn log(filter: &str, json: bool) -> anyhow::Result<Log> {
    let filter: EnvFilter =
        filter.parse().with_context(|| format!("--log: `{filter}` is not a filter"))?;
    let queue = Arc::new(LineQueue::default());
    let of_writer = Arc::clone(&queue);
    let writing = move || {
        IS_WRITER.set(true);
        of_writer.write(&mut stderr(), |lost| {
            tracing::warn!(lost, "{lost} lines of log lost: standard error was not read");
        });
    };
    thread::Builder::new().name("log".into()).spawn(writing).context("cannot start the log")?;
    let log = Log(queue);
    let writer = log.writer();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(move || writer.clone());
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(stderr().is_terminal()).init();
    }
    // The default hook writes directly to standard error, which may block.
    panic::set_hook(Box::new(|panic| {
        let text = panic.payload_as_str().unwrap_or("no message");
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        let thread = thread.name().unwrap_or_default();
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            tracing::error!(location, thread, "panic: {text}\n{backtrace}");
        } else {
            tracing::error!(location, thread, "panic: {text}");
        }
    }));
    Ok(log)
}

impl Log {
    /// Returns a writer for other lines to standard error.
    #[must_use]
    pub fn writer(&self) -> LogWriter {
        LogWriter(Arc::clone(&self.0))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush();
    }
}

impl Write for LogWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if IS_WRITER.get() {
            return stderr().write(text);
        }
        self.0.push(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
