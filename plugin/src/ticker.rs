//! The tick that lets a busy guest be interrupted, ten milliseconds long.
//!
//! A thread of its own, because a guest that loops may hold every thread of the
//! async runtime. It stops with its [`Ticker`], and rests while no call runs:
//! a device that waits for its next method should not wake a hundred times a
//! second for it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The time between two yields of a busy guest.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The number of idle ticks before the thread rests. One second: waking the thread
/// costs more than a call, so calls that follow one another should find it awake.
pub(crate) const IDLE_TICKS: u32 = 100;

pub(crate) struct Ticker {
    // Only `None` while it is being dropped.
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

    /// Keeps the ticks coming until the guard is dropped.
    pub(crate) fn running(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.resting.load(SeqCst)
            && let Some(wake) = &self.wake
        {
            // A full channel has woken it already.
            let _ = wake.try_send(());
        }
        Running(&self.shared.running)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(thread) = self.thread.take() {
            // It only ends by panicking if `tick` does, and then it has ended.
            let _ = thread.join();
        }
    }
}

/// A call that needs ticks.
pub(crate) struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn run(tick: &dyn Fn(), most_idle: u32, woken: &Receiver<()>, shared: &TickerState) {
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
        if idle < most_idle {
            continue;
        }
        // Said first, then looked again: a call that came in between has either
        // been counted here or sees that it must wake us.
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

    /// A ticker whose ticks can be waited for.
    fn ticker() -> (Ticker, Receiver<()>) {
        let (ticked, ticks) = sync_channel(1);
        let tick = move || {
            let _ = ticked.try_send(());
        };
        let ticker = Ticker::start(tick, 3);
        (ticker.unwrap(), ticks)
    }

    #[test]
    fn it_ticks_while_a_call_runs() {
        let (ticker, ticks) = ticker();
        let _running = ticker.running();

        for _ in 0..3 {
            ticks.recv().unwrap();
        }
    }

    #[test]
    fn it_rests_when_idle_and_wakes_for_the_next_call() {
        let (ticker, ticks) = ticker();
        while !ticker.shared.resting.load(SeqCst) {
            std::thread::yield_now();
        }
        while ticks.try_recv().is_ok() {}

        let _running = ticker.running();
        ticks.recv().unwrap();
    }

    #[test]
    fn its_thread_ends_with_it() {
        let (ticker, ticks) = ticker();
        drop(ticker);

        while ticks.try_recv().is_ok() {}
        assert!(ticks.recv().is_err());
    }
}
