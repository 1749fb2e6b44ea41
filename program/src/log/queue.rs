//! Queue of log lines between the logging threads and the log thread.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Capacity of the queue in lines and bytes: some seconds of a busy host at level `debug`.
const MAX_LINES: usize = 4096;
const MAX_BYTES: usize = 1024 * 1024;

/// Pause of the log thread after it has written everything. A busy program wakes the thread
/// at most 200 times a second instead of once per line.
const PAUSE: Duration = Duration::from_millis(5);

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
    lines: VecDeque<Line>,
    bytes: usize,
    /// Number of lines dropped since the last accepted line.
    lost: u64,
    /// `true` while a line is being written.
    writing: bool,
}

#[derive(Debug, Default)]
struct Line {
    /// Number of lines dropped before this one.
    lost_before: u64,
    text: Vec<u8>,
}

impl LineQueue {
    /// Queues a line. Drops and counts it if the queue is full.
    pub(super) fn push(&self, text: &[u8]) {
        let mut state = self.state.lock();
        if state.lines.len() >= MAX_LINES || state.bytes + text.len() > MAX_BYTES {
            state.lost += 1;
            return;
        }
        let lost_before = std::mem::take(&mut state.lost);
        state.bytes += text.len();
        state.lines.push_back(Line { lost_before, text: text.to_owned() });
        self.filled.notify_one();
    }

    /// Writes lines forever. Calls `report_lost` with the number of dropped lines before
    /// the line that follows them.
    pub(super) fn write(&self, to: &mut impl Write, report_lost: impl Fn(u64)) {
        loop {
            let line = self.next();
            if line.lost_before > 0 {
                report_lost(line.lost_before);
            }
            // If standard error is closed, the error cannot be reported.
            let _ = to.write_all(&line.text);
        }
    }

    fn next(&self) -> Line {
        let mut state = self.state.lock();
        let mut has_written = std::mem::take(&mut state.writing);
        loop {
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.text.len();
                state.writing = true;
                return line;
            }
            if state.lost > 0 {
                let lost_before = std::mem::take(&mut state.lost);
                state.writing = true;
                return Line { lost_before, text: Vec::new() };
            }
            self.emptied.notify_all();
            if std::mem::take(&mut has_written) {
                self.flushing.wait_for(&mut state, PAUSE);
            } else {
                self.filled.wait(&mut state);
            }
        }
    }

    /// Waits until everything is written, for at most [`LAST_LINES`].
    pub(super) fn flush(&self) {
        let mut state = self.state.lock();
        self.flushing.notify_one();
        self.emptied.wait_while_for(
            &mut state,
            |state| state.writing || !state.lines.is_empty() || state.lost > 0,
            FLUSH_TIMEOUT,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;
    use std::sync::mpsc::{self, Receiver, SyncSender};
    use std::thread;

    use super::*;

    /// A standard error whose reader receives one write at a time.
    struct Pipe(SyncSender<String>);

    impl Write for Pipe {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.send(String::from_utf8(text.to_vec()).unwrap()).map_err(io::Error::other)?;
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns a queue, and the receiver of its output. Each write blocks until it is received.
    fn written() -> (Arc<LineQueue>, Receiver<String>) {
        let queue = Arc::new(LineQueue::default());
        let (sender, receiver) = mpsc::sync_channel(0);
        let (of_writer, notices) = (Arc::clone(&queue), sender.clone());
        thread::spawn(move || {
            of_writer.write(&mut Pipe(sender), |lost| {
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
        (0..100).for_each(|line| queue.push(line.to_string().as_bytes()));
        queue.flush();
        let expected: Vec<_> = (0..100).map(|line| line.to_string()).collect();
        assert_eq!(reading.join().unwrap(), expected);
    }

    #[test]
    fn a_log_that_is_not_read_drops_lines_and_reports_the_number() {
        let (queue, receiver) = written();
        queue.push(b"first");
        assert_eq!(receiver.recv().unwrap(), "first");
        let line = vec![b'x'; 1024];
        let pushed = 2 * MAX_BYTES / line.len();
        (0..pushed).for_each(|_| queue.push(&line));

        let (mut kept, mut lost) = (0, 0);
        while kept + lost < pushed {
            match receiver.recv().unwrap().strip_suffix(" lost") {
                Some(count) => lost += count.parse::<usize>().unwrap(),
                None => kept += 1,
            }
        }
        assert!(lost > 0);
        queue.push(b"last");
        assert_eq!(receiver.recv().unwrap(), "last");
    }

    #[test]
    fn the_number_of_dropped_lines_precedes_the_next_line() {
        let queue = LineQueue::default();
        (0..MAX_LINES + 3).for_each(|_| queue.push(b"x"));
        drop(queue.next());
        queue.push(b"after");
        let last = queue.state.lock().lines.pop_back().unwrap();
        assert_eq!((last.lost_before, last.text.as_slice()), (3, b"after".as_slice()));
    }
}
