//! Handling of Ctrl-C and SIGTERM.

use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout_at};

/// Time in which one request to stop can be delivered again. `timeout` of GNU coreutils, for
/// example, sends its signal to the process and then to the group of the process.
const REPETITION: Duration = Duration::from_millis(300);

/// A receiver of the signals that ask the process to stop: Ctrl-C (SIGINT) and SIGTERM.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Installs handlers for both signals. The signals no longer end the process, even
    /// after the returned value is dropped.
    ///
    /// # Errors
    ///
    /// Returns an error if a handler cannot be installed.
    ///
    /// # Panics
    ///
    /// Panics if called outside a Tokio runtime.
    pub fn new() -> anyhow::Result<Signals> {
        let of = |kind| signal(kind).context("cannot wait for signals");
        Ok(Signals {
            interrupt: of(SignalKind::interrupt())?,
            terminate: of(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal. No signal is lost if the future is dropped.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// Waits until a received signal is no longer repeated. Repetitions count as that signal.
    pub async fn skip_repetitions(&mut self) {
        let until = Instant::now() + REPETITION;
        while timeout_at(until, self.next()).await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Signal, getpid, kill_process};
    use tokio::time::timeout;

    /// Time limit of everything that does not wait.
    const SOON: Duration = Duration::from_secs(10);

    fn send_to_self() {
        kill_process(getpid(), Signal::TERM).unwrap();
    }

    #[tokio::test]
    async fn a_repeated_signal_counts_once_and_a_later_one_again() {
        let mut signals = Signals::new().unwrap();
        send_to_self();
        timeout(SOON, signals.next()).await.unwrap();

        send_to_self();
        timeout(SOON, signals.skip_repetitions()).await.unwrap();
        assert!(timeout(Duration::ZERO, signals.next()).await.is_err());

        send_to_self();
        timeout(SOON, signals.next()).await.unwrap();
    }
}
