//! Ticker that interrupts busy guests every ten milliseconds.
//!
//! It runs on its own thread because looping guests can occupy every thread of the async
//! runtime. The thread ends with its [`Ticker`] and sleeps while no call is running, so
//! that an idle device is not woken a hundred times a second.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Time between two yields of a busy guest.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Number of idle ticks before the thread goes to sleep: one second. Waking the thread
/// costs more than a call, so calls in quick succession should find it awake.
pub(crate) const IDLE_TICKS: u32 = 100;

pub(crate) struct Ticker {
    // `None` only during drop.
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<TickerState>,
}

#[derive(Default)]
struct TickerState {
    running: AtomicUsize,
    resting: AtomicBool,
}

impl Ticker {
    pub(crate) fn start(tick: impl Fn() + Send + 'static, idle_ticks: u32) -> io::Result<Ticker> {
        let shared = Arc::new(TickerState::default());
        let (wake, woken) = sync_channel(1);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("wasm-ticker".to_owned())
            .spawn(move || run(&tick, idle_ticks, &woken, &of_thread))?;
        Ok(Ticker { wake: Some(wake), thread: Some(thread), shared })
    }

    /// Keeps the ticker running until the guard is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.resting.load(SeqCst)
            && let Some(wake) = &self.wake
        {
            // If the channel is full, the thread is already being woken.
            let _ = wake.try_send(());
        }
        Running(&self.shared.running)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // The thread panics only if `tick` does, and has ended then.
            let _ = thread.join();
        }
    }
}

/// Guard of a call that needs ticks.
pub(crate) struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn run(tick: &dyn Fn(), max_idle: u32, woken: &Receiver<()>, shared: &TickerState) {
    let mut idle = 0;
    loop {
        match woken.recv_timeout(TICK) {
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => tick(),
            Ok(()) => {}
        }
        if shared.running.load(SeqCst) > 0 {
            idle = 0;
            continue;
        }
        idle += 1;
        if idle < max_idle {
            continue;
        }
        // Store first, then check again: a concurrent call was either counted above or
        // sees `resting` and wakes the thread.
        shared.resting.store(true, SeqCst);
        if shared.running.load(SeqCst) == 0 && woken.recv().is_err() {
            return;
        }
        shared.resting.store(false, SeqCst);
        idle = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a ticker and a channel that receives its ticks.
    fn ticker() -> (Ticker, Receiver<()>) {
        let (ticked, ticks) = sync_channel(1);
        let tick = move || {
            let _ = ticked.try_send(());
        };
        let ticker = Ticker::start(tick, 3);
        (ticker.unwrap(), ticks)
    }

    #[test]
    fn the_ticker_ticks_while_a_call_runs() {
        let (ticker, ticks) = ticker();
        let _running = ticker.running();

        for _ in 0..3 {
            ticks.recv().unwrap();
        }
    }

    #[test]
    fn the_ticker_rests_when_idle_and_wakes_for_the_next_call() {
        let (ticker, ticks) = ticker();
        while !ticker.shared.resting.load(SeqCst) {
            std::thread::yield_now();
        }
        while ticks.try_recv().is_ok() {}

        let _running = ticker.running();
        ticks.recv().unwrap();
    }

    #[test]
    fn the_thread_ends_with_the_ticker() {
        let (ticker, ticks) = ticker();
        drop(ticker);

        while ticks.try_recv().is_ok() {}
        assert!(ticks.recv().is_err());
    }
}
