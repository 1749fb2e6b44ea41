//! Queue of log lines between the logging threads and the log thread.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Capacity of the queue in lines and bytes: some seconds of a busy host at level `debug`.
/// While writing, the log thread can hold the same amount.
const MAX_LINES: usize = 4096;
const MAX_BYTES: usize = 1024 * 1024;

/// Maximum number of bytes in one write to a pipe, unless a single line is longer. A pipe does not
/// mix a write of this size with the output of another process (pipe(7), `PIPE_BUF`).
pub(super) const PIPE_BYTES: usize = 4096;

/// Maximum capacity of a buffer that is kept for the next lines.
const KEPT_BYTES: usize = 64 * 1024;

/// Pause of the log thread after it has written everything. A busy program wakes the thread
/// at most 200 times a second instead of once per line.
const PAUSE: Duration = Duration::from_millis(5);

/// Number of lines that this process has dropped.
static LOST: AtomicU64 = AtomicU64::new(0);

/// Returns the number of log lines that this process has dropped, because standard error was not
/// read.
#[must_use]
pub fn lost_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Timeout of [`LineQueue::flush`].
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct LineQueue {
    state: Mutex<QueueState>,
    /// Notified when there is a line to write.
    filled: Condvar,
    /// Notified when everything has been written.
    emptied: Condvar,
    /// Notified to end the pause of the log thread when a flush is waiting.
    flushing: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    lines: Lines,
    /// Number of lines dropped since the last accepted line.
    lost: u64,
    /// `true` while lines are being written.
    writing: bool,
}

/// Lines in the order of their arrival.
#[derive(Debug, Default)]
struct Lines {
    /// Text of all lines, concatenated.
    text: Vec<u8>,
    each: VecDeque<Line>,
}

#[derive(Debug)]
struct Line {
    /// Number of lines dropped before this one.
    lost_before: u64,
    bytes: usize,
}

impl LineQueue {
    /// Queues a line. Drops and counts it if the queue is full.
    pub(super) fn push(&self, text: &[u8]) {
        let mut state = self.state.lock();
        let QueueState { lines, lost, .. } = &mut *state;
        if lines.each.len() >= MAX_LINES || lines.text.len() + text.len() > MAX_BYTES {
            *lost += 1;
            LOST.fetch_add(1, Ordering::Relaxed);
            return;
        }
        lines.push(std::mem::take(lost), text);
        self.filled.notify_one();
    }

    /// Writes lines forever, several at once if they fit into `max_bytes`. Calls `report_lost`
    /// with the number of dropped lines before the line that follows them.
    pub(super) fn write(&self, to: &mut dyn Write, max_bytes: usize, report_lost: impl Fn(u64)) {
        let mut lines = Lines::default();
        loop {
            self.next(&mut lines);
            lines.write(to, max_bytes, &report_lost);
        }
    }

    /// Waits for lines and takes all of them.
    fn next(&self, taken: &mut Lines) {
        let mut state = self.state.lock();
        let mut has_written = std::mem::take(&mut state.writing);
        loop {
            if state.lost > 0 {
                let lost_before = std::mem::take(&mut state.lost);
                state.lines.push(lost_before, b"");
            }
            if !state.lines.each.is_empty() {
                std::mem::swap(&mut state.lines, taken);
                state.writing = true;
                return;
            }
            self.emptied.notify_all();
            if std::mem::take(&mut has_written) {
                self.flushing.wait_for(&mut state, PAUSE);
            } else {
                self.filled.wait(&mut state);
            }
        }
    }

    /// Waits until everything is written, for at most [`FLUSH_TIMEOUT`].
    pub(super) fn flush(&self) {
        let mut state = self.state.lock();
        self.flushing.notify_one();
        self.emptied.wait_while_for(
            &mut state,
            |state| state.writing || !state.lines.each.is_empty() || state.lost > 0,
            FLUSH_TIMEOUT,
        );
    }
}

impl Lines {
    fn push(&mut self, lost_before: u64, text: &[u8]) {
        self.text.extend_from_slice(text);
        self.each.push_back(Line { lost_before, bytes: text.len() });
    }

    /// Writes all lines, several at once if they fit into `max_bytes`, and removes them.
    fn write(&mut self, to: &mut dyn Write, max_bytes: usize, report_lost: &impl Fn(u64)) {
        let (mut written, mut end) = (0, 0);
        // If standard error is closed, the error cannot be reported.
        let mut write = |text: &[u8]| drop(to.write_all(text));
        for Line { lost_before, bytes } in self.each.drain(..) {
            let is_full = end + bytes - written > max_bytes;
            if (is_full || lost_before > 0) && written < end {
                write(&self.text[written..end]);
                written = end;
            }
            if lost_before > 0 {
                report_lost(lost_before);
            }
            end += bytes;
        }
        if written < end {
            write(&self.text[written..end]);
        }
        self.text.clear();
        if self.text.capacity() > KEPT_BYTES {
            *self = Lines::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::sync::Arc;
    use std::sync::mpsc::{self, Receiver, SyncSender};
    use std::thread;

    use super::*;

    /// A standard error whose reader receives one line at a time.
    struct Pipe(SyncSender<String>);

    impl Write for Pipe {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let text = str::from_utf8(text).unwrap();
            for line in text.lines() {
                self.0.send(line.to_owned()).map_err(io::Error::other)?;
            }
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns a queue, and the receiver of its output. Each line blocks until it is received.
    fn written() -> (Arc<LineQueue>, Receiver<String>) {
        let queue = Arc::new(LineQueue::default());
        let (sender, receiver) = mpsc::sync_channel(0);
        let (of_writer, notices) = (Arc::clone(&queue), sender.clone());
        thread::spawn(move || {
            of_writer.write(&mut Pipe(sender), PIPE_BYTES, |lost| {
                // The receiver is dropped at the end of the test.
                let _ = notices.send(format!("{lost} lost"));
            });
        });
        (queue, receiver)
    }

    #[test]
    fn lines_are_written_in_order_and_all_of_them_at_the_end() {
        let (queue, receiver) = written();
        let reading = thread::spawn(move || receiver.iter().take(100).collect::<Vec<_>>());
        (0..100).for_each(|line| queue.push(format!("{line}\n").as_bytes()));
        queue.flush();
        let expected: Vec<_> = (0..100).map(|line| line.to_string()).collect();
        assert_eq!(reading.join().unwrap(), expected);
    }

    #[test]
    fn a_log_that_is_not_read_drops_lines_and_reports_the_number() {
        let (queue, receiver) = written();
        queue.push(b"first\n");
        assert_eq!(receiver.recv().unwrap(), "first");
        let mut line = vec![b'x'; 1024];
        line.push(b'\n');
        let pushed = 2 * MAX_BYTES / line.len();
        (0..pushed).for_each(|_| queue.push(&line));

        let (mut kept, mut lost) = (0, 0);
        while kept + lost < pushed {
            match receiver.recv().unwrap().strip_suffix(" lost") {
                Some(count) => lost += count.parse::<usize>().unwrap(),
                None => kept += 1,
            }
        }
        assert!(lost > 0 && lost_lines() >= lost as u64);
        queue.push(b"last\n");
        assert_eq!(receiver.recv().unwrap(), "last");
    }

    #[test]
    fn the_number_of_dropped_lines_precedes_the_next_line() {
        let queue = LineQueue::default();
        (0..MAX_LINES + 3).for_each(|_| queue.push(b"x"));
        let (mut lines, mut written, lost) = (Lines::default(), Vec::new(), Cell::new(0));
        queue.next(&mut lines);
        queue.push(b"after");
        lines.write(&mut written, PIPE_BYTES, &|count| lost.set(count));
        assert_eq!((lost.get(), written.len()), (3, MAX_LINES));

        queue.next(&mut lines);
        lines.write(&mut written, PIPE_BYTES, &|_| unreachable!());
        assert!(written.ends_with(b"xafter"));
    }

    #[test]
    fn queued_lines_are_written_together_and_no_line_is_split() {
        struct Writes(Vec<usize>);

        impl Write for Writes {
            fn write(&mut self, text: &[u8]) -> io::Result<usize> {
                assert!(text.ends_with(b"\n"));
                self.0.push(text.len());
                Ok(text.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let line = |bytes: usize| [vec![b'x'; bytes - 1], b"\n".to_vec()].concat();
        let (mut lines, mut writes) = (Lines::default(), Writes(Vec::new()));
        for bytes in [1000, 1000, 1000, 1000, 97, PIPE_BYTES + 1, 1, 1] {
            lines.push(0, &line(bytes));
        }
        lines.write(&mut writes, PIPE_BYTES, &|_| unreachable!());
        assert_eq!(writes.0, [4000, 97, PIPE_BYTES + 1, 2]);

        writes.0.clear();
        (0..2).for_each(|_| lines.push(0, &line(7)));
        lines.write(&mut writes, 0, &|_| unreachable!());
        assert_eq!(writes.0, [7, 7], "each line is a write of its own");
    }
}
