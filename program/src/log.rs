//! Logging of `tracing` events to standard error, from a dedicated thread. If standard error is
//! connected to systemd's journal, the events become entries of the journal with their fields.
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
use tracing::Subscriber;
use tracing::subscriber::with_default;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

pub use event::EventFields;
pub use filter::{LogFilter, LogFilterError};
use format::{JsonFormat, ShortFormat};
pub use forward::{Forwarding, LogForwarder, LogReceiver, forward_log};
use journal::{JournalLayer, JournalWriter, entry_of_text, has_journal};
use line::LineFormat;
pub use queue::lost_lines;
use queue::{LineQueue, PIPE_BYTES};

use crate::output::has_colours;

mod event;
mod filter;
mod format;
mod forward;
mod journal;
mod line;
mod queue;

thread_local! {
    /// `true` on the log thread, whose own events bypass the queue.
    static IS_WRITER: Cell<bool> = const { Cell::new(false) };
}

/// The log of this process. Dropping it waits until the queue is written, for at most one
/// second.
#[derive(Debug)]
#[must_use = "the last lines are written when it is dropped"]
pub struct Log(LogWriter);

/// A writer to standard error that shares the queue of the log. A write does not block.
#[derive(Debug, Clone)]
pub struct LogWriter {
    queue: Arc<LineQueue>,
    /// `true` if the lines are entries of the journal.
    has_journal: bool,
}

/// Starts logging to standard error, as text or as JSON lines. Panics are logged as well.
///
/// Instead of text, systemd's journal gets entries with the fields of the events, if standard error
/// is connected to it. Text has short lines if standard error is a terminal. [`has_colours`]
/// decides about colours.
///
/// `targets` are the first segments of the targets of all events of the program: the names
/// of its crates. If the filter has another target, the log starts with a warning.
///
/// # Errors
///
/// Returns an error if the log thread cannot be started.
///
/// # Panics
///
/// Panics if the process has already set a global `tracing` subscriber.
pub fn log(filter: &LogFilter, json: bool, targets: &[&str]) -> anyhow::Result<Log> {
    let has_journal = !json && has_journal();
    let writer = LogWriter { queue: Arc::default(), has_journal };
    let of_thread = writer.clone();
    let writing = move || {
        IS_WRITER.set(true);
        let max_bytes = if has_journal { 0 } else { PIPE_BYTES };
        of_thread.queue.write(&mut *of_thread.destination(), max_bytes, |lost| {
            tracing::warn!(lost, "{lost} lines of log lost: standard error was not read");
        });
    };
    thread::Builder::new().name("log".into()).spawn(writing).context("cannot start the log")?;
    let log = Log(writer);
    let builder = || {
        let writer = log.writer();
        tracing_subscriber::fmt().with_writer(move || writer.clone())
    };
    // The filter itself could silence the warning.
    let warnings = || builder().with_max_level(LevelFilter::WARN);
    let warn = || warn_about(filter, targets);
    let has_colours = has_colours(&stderr());
    if has_journal {
        let layer = || JournalLayer(log.writer());
        with_default(registry().with(LevelFilter::WARN).with(layer()), warn);
        install(registry().with(filter.env_filter()).with(layer()));
    } else if json {
        with_default(warnings().event_format(JsonFormat).finish(), warn);
        install(builder().with_env_filter(filter.env_filter()).event_format(JsonFormat).finish());
    } else if stderr().is_terminal() {
        let format = || ShortFormat { has_colours };
        with_default(warnings().event_format(format()).finish(), warn);
        install(builder().with_env_filter(filter.env_filter()).event_format(format()).finish());
    } else if has_colours {
        with_default(warnings().with_ansi(true).finish(), warn);
        install(builder().with_env_filter(filter.env_filter()).with_ansi(true).finish());
    } else {
        with_default(warnings().event_format(LineFormat).finish(), warn);
        install(builder().with_env_filter(filter.env_filter()).event_format(LineFormat).finish());
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

/// Makes a subscriber that of the process, and forwards its events.
fn install<S>(subscriber: S)
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static,
{
    subscriber.with(LogForwarder).init();
}

/// Logs a warning if a target of the filter matches no event.
fn warn_about(filter: &LogFilter, targets: &[&str]) {
    let Some(target) = filter.unmatched(targets) else { return };
    let example = targets.first().copied().unwrap_or("target");
    tracing::warn!(
        hint = format!("use error, warn, info, debug, trace or off, or a target: {example}=debug"),
        "`{target}` in the log filter matches no event: it is neither a level nor a target of this \
         program"
    );
}

impl Log {
    /// Returns a writer for other lines to standard error.
    #[must_use]
    pub fn writer(&self) -> LogWriter {
        self.0.clone()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.queue.flush();
    }
}

impl LogWriter {
    /// Writes a line, or an entry of the journal. Drops and counts it if the queue is full.
    fn write_line(&self, line: &[u8]) {
        if IS_WRITER.get() {
            // If standard error is closed, the error cannot be reported.
            drop(self.destination().write_all(line));
        } else {
            self.queue.push(line);
        }
    }

    fn destination(&self) -> Box<dyn Write> {
        if self.has_journal { Box::new(JournalWriter::new()) } else { Box::new(stderr()) }
    }
}

impl Write for LogWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.has_journal {
            self.write_line(&entry_of_text(&String::from_utf8_lossy(text)));
        } else {
            self.write_line(text);
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
