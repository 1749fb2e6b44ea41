//! Permits for compilations, which limit the number of concurrent ones.
//!
//! Two compilations run at the same time, because each of them uses all cores by itself. At
//! most one of the two is long, so that a long compilation never delays a short one. A
//! compilation that timed out cannot be cancelled: it is abandoned, and keeps its permit until
//! it completes.

use super::cache::Digest;
use crate::LoadError;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

/// Maximum number of running compilations, including those that were abandoned.
const MAX_RUNNING: usize = 2;

/// Maximum number of abandoned compilations. Any running compilation can be abandoned, so
/// it is at least [`MAX_RUNNING`].
const MAX_ABANDONED: usize = 2;

const _: () = assert!(MAX_RUNNING <= MAX_ABANDONED, "more compilations could be abandoned");

/// Expected duration of a compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Short,
    Long,
}

impl Length {
    /// Size of the code above which a compilation is long. The guests of this project in most
    /// compiled languages are below a fifth of it; Go and the interpreters of scripts are above.
    const SHORT_BYTES: usize = 512 * 1024;

    pub(super) fn of(code_bytes: usize) -> Length {
        if code_bytes > Length::SHORT_BYTES { Length::Long } else { Length::Short }
    }
}

/// Permits of all running compilations. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Permits(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    last: u64,
    running: Vec<RunningCompilation>,
}

/// A compilation that has a permit.
struct RunningCompilation {
    number: u64,
    digest: Digest,
    length: Length,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Has a permit and waits for its memory.
    Waiting,
    Compiling,
    /// Timed out, and still compiling.
    Abandoned,
}

/// Permit of one compilation, released on drop.
pub(super) struct Permit {
    permits: Permits,
    number: u64,
}

impl Permits {
    /// Waits for a permit. A component has at most one permit, so that a second load finds the
    /// code in the cache. Returns an error if an abandoned compilation of the same component, or
    /// too many of other components, are still running. Blocks.
    pub(super) fn acquire(&self, digest: Digest, length: Length) -> Result<Permit, LoadError> {
        let mut state = self.0.state.lock();
        while !state.can_begin(digest, length)? {
            // Bounded, because every running compilation has a time limit.
            self.0.changed.wait(&mut state);
        }
        state.last += 1;
        let number = state.last;
        state.running.push(RunningCompilation { number, digest, length, stage: Stage::Waiting });
        Ok(Permit { permits: self.clone(), number })
    }

    /// Marks a compilation as abandoned, unless it has ended.
    pub(super) fn abandon(&self, number: u64) {
        self.set_stage(number, Stage::Abandoned);
    }

    fn set_stage(&self, number: u64, stage: Stage) {
        let mut state = self.0.state.lock();
        let running = state.running.iter_mut().find(|running| running.number == number);
        if let Some(running) = running {
            running.stage = stage;
        }
        self.0.changed.notify_all();
    }
}

impl State {
    /// Returns `true` if a compilation can begin, and an error if it would have to wait for an
    /// abandoned one.
    fn can_begin(&self, digest: Digest, length: Length) -> Result<bool, LoadError> {
        let is_abandoned = |running: &&RunningCompilation| running.stage == Stage::Abandoned;
        let abandoned = self.running.iter().filter(is_abandoned).count();
        let same = self.running.iter().find(|running| running.digest == digest);
        if abandoned >= MAX_ABANDONED || same.as_ref().is_some_and(is_abandoned) {
            return Err(LoadError::StillCompiling { abandoned });
        }
        let is_long = |running: &RunningCompilation| {
            running.length == Length::Long && running.stage != Stage::Abandoned
        };
        let another_is_long = length == Length::Long && self.running.iter().any(is_long);
        Ok(same.is_none() && self.running.len() < MAX_RUNNING && !another_is_long)
    }
}

impl Permit {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Records that the compilation has its memory and starts.
    pub(super) fn begin(&self) {
        self.permits.set_stage(self.number, Stage::Compiling);
    }

    /// Returns `true` while another compilation runs, which releases its memory within its time
    /// limit.
    pub(super) fn another_is_compiling(&self) -> bool {
        let state = self.permits.0.state.lock();
        state.running.iter().any(|running| running.stage == Stage::Compiling)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.permits.0.state.lock();
        state.running.retain(|running| running.number != self.number);
        self.permits.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
    use std::thread;
    use std::time::Duration;

    /// Time limit for a permit that is available.
    const SOON: Duration = Duration::from_secs(10);

    fn acquire(permits: &Permits, name: &str, length: Length) -> Result<Permit, LoadError> {
        permits.acquire(Digest::of(name.as_bytes()), length)
    }

    /// Acquires a permit on another thread.
    fn acquire_on_thread(
        permits: &Permits,
        name: &'static str,
        length: Length,
    ) -> Receiver<Permit> {
        let (permits, (acquired, permit)) = (permits.clone(), sync_channel(1));
        thread::spawn(move || acquired.send(acquire(&permits, name, length).unwrap()));
        permit
    }

    fn abandoned(error: &LoadError) -> usize {
        let LoadError::StillCompiling { abandoned } = error else { panic!("{error}") };
        *abandoned
    }

    #[test]
    fn a_long_compilation_delays_a_long_one_but_not_a_short_one() {
        let permits = Permits::default();
        let long = acquire(&permits, "long", Length::Long).unwrap();
        let next = acquire_on_thread(&permits, "next", Length::Long);
        for name in ["first", "second"] {
            acquire_on_thread(&permits, name, Length::Short).recv_timeout(SOON).unwrap();
        }
        assert!(matches!(next.try_recv(), Err(TryRecvError::Empty)));
        drop(long);
        next.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn a_component_waits_for_the_compilation_of_the_same_component() {
        let permits = Permits::default();
        let first = acquire(&permits, "same", Length::Short).unwrap();
        let second = acquire_on_thread(&permits, "same", Length::Short);
        acquire(&permits, "other", Length::Short).unwrap();
        assert_eq!(second.recv_timeout(Duration::ZERO).err(), Some(RecvTimeoutError::Timeout));
        drop(first);
        second.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn an_abandoned_compilation_is_not_repeated_and_two_of_them_block_all_others() {
        let permits = Permits::default();
        let one = acquire(&permits, "one", Length::Long).unwrap();
        permits.abandon(one.number());
        assert_eq!(abandoned(&acquire(&permits, "one", Length::Long).err().unwrap()), 1);

        // The last permit is free for a long compilation too.
        let two = acquire(&permits, "two", Length::Long).unwrap();
        let three = acquire_on_thread(&permits, "three", Length::Short);
        assert_eq!(three.recv_timeout(Duration::ZERO).err(), Some(RecvTimeoutError::Timeout));
        drop(two);
        drop(three.recv_timeout(SOON).unwrap());

        let two = acquire(&permits, "two", Length::Short).unwrap();
        permits.abandon(two.number());
        assert_eq!(abandoned(&acquire(&permits, "three", Length::Short).err().unwrap()), 2);
        drop((one, two));
        acquire(&permits, "one", Length::Long).unwrap();
    }

    #[test]
    fn a_waiting_compilation_is_refused_when_the_same_one_is_abandoned() {
        let permits = Permits::default();
        let first = acquire(&permits, "same", Length::Short).unwrap();
        let (again, (refused, outcome)) = (permits.clone(), sync_channel(1));
        thread::spawn(move || refused.send(acquire(&again, "same", Length::Short).err()));
        permits.abandon(first.number());
        assert_eq!(abandoned(&outcome.recv_timeout(SOON).unwrap().unwrap()), 1);
    }

    #[test]
    fn a_compilation_counts_as_running_from_its_start_until_it_is_abandoned() {
        let permits = Permits::default();
        let first = acquire(&permits, "first", Length::Short).unwrap();
        let second = acquire(&permits, "second", Length::Short).unwrap();
        assert!(!second.another_is_compiling());
        first.begin();
        assert!(second.another_is_compiling());
        permits.abandon(first.number());
        assert!(!second.another_is_compiling());
    }
}
