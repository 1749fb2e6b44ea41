//! Turns of compilations, which bound those that run at the same time.
//!
//! Two compilations run at a time, because each of them uses all cores by itself. At most
//! one of the two is long, so that a long compilation never delays a short one. A
//! compilation that timed out cannot be cancelled: it keeps its turn, abandoned, until it
//! ends by itself.

use super::cache::Digest;
use crate::LoadError;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;

/// Maximum number of running compilations, including those that were abandoned.
const AT_ONCE: usize = 2;

/// Maximum number of abandoned compilations. Any running compilation can be abandoned, so
/// it is at least [`AT_ONCE`].
const MAX_ABANDONED: usize = 2;

const _: () = assert!(AT_ONCE <= MAX_ABANDONED, "more compilations could be abandoned");

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

/// Running compilations. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Shared>);

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

/// Running compilation.
struct RunningCompilation {
    number: u64,
    digest: Digest,
    length: Length,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Waits for its memory.
    Waiting,
    Compiling,
    /// Timed out, and still compiling.
    Abandoned,
}

/// Turn of one compilation, which ends when the turn is dropped.
pub(super) struct Turn {
    turns: Turns,
    number: u64,
}

impl Turns {
    /// Waits for a turn. A component has one turn at a time, so that the next one finds it in
    /// the cache. Returns an error if an earlier compilation of the component, or too many
    /// others, were abandoned and have not ended. Blocks.
    pub(super) fn take(&self, digest: Digest, length: Length) -> Result<Turn, LoadError> {
        let mut state = self.0.state.lock();
        while !state.is_free(digest, length)? {
            // Bounded, because every running compilation has a time limit.
            self.0.changed.wait(&mut state);
        }
        state.last += 1;
        let number = state.last;
        state.running.push(RunningCompilation { number, digest, length, stage: Stage::Waiting });
        Ok(Turn { turns: self.clone(), number })
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
    fn is_free(&self, digest: Digest, length: Length) -> Result<bool, LoadError> {
        let is_abandoned = |running: &&RunningCompilation| running.stage == Stage::Abandoned;
        let others = self.running.iter().filter(is_abandoned).count();
        let same = self.running.iter().find(|running| running.digest == digest);
        if others >= MAX_ABANDONED || same.as_ref().is_some_and(is_abandoned) {
            return Err(LoadError::StillCompiling { others });
        }
        let is_long = |running: &RunningCompilation| {
            running.length == Length::Long && running.stage != Stage::Abandoned
        };
        let another_is_long = length == Length::Long && self.running.iter().any(is_long);
        Ok(same.is_none() && self.running.len() < AT_ONCE && !another_is_long)
    }
}

impl Turn {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Records that the compilation has its memory and begins.
    pub(super) fn begin(&self) {
        self.turns.set_stage(self.number, Stage::Compiling);
    }

    /// Returns `true` while another compilation has its memory and will release it within its
    /// time limit.
    pub(super) fn is_behind_another(&self) -> bool {
        let state = self.turns.0.state.lock();
        state.running.iter().any(|running| running.stage == Stage::Compiling)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut state = self.turns.0.state.lock();
        state.running.retain(|running| running.number != self.number);
        self.turns.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
    use std::thread;
    use std::time::Duration;

    /// Time limit of everything that does not wait.
    const SOON: Duration = Duration::from_secs(10);

    fn take(turns: &Turns, name: &str, length: Length) -> Result<Turn, LoadError> {
        turns.take(Digest::of(name.as_bytes()), length)
    }

    /// Takes a turn on another thread.
    fn taking(turns: &Turns, name: &'static str, length: Length) -> Receiver<Turn> {
        let (turns, (taken, turn)) = (turns.clone(), sync_channel(1));
        thread::spawn(move || taken.send(take(&turns, name, length).unwrap()));
        turn
    }

    fn others(error: &LoadError) -> usize {
        let LoadError::StillCompiling { others } = error else { panic!("{error}") };
        *others
    }

    #[test]
    fn a_long_compilation_delays_a_long_one_but_no_short_one() {
        let turns = Turns::default();
        let long = take(&turns, "long", Length::Long).unwrap();
        let next = taking(&turns, "next", Length::Long);
        for name in ["first", "second"] {
            taking(&turns, name, Length::Short).recv_timeout(SOON).unwrap();
        }
        assert!(matches!(next.try_recv(), Err(TryRecvError::Empty)));
        drop(long);
        next.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn a_component_waits_for_the_compilation_of_the_same_component() {
        let turns = Turns::default();
        let first = take(&turns, "same", Length::Short).unwrap();
        let second = taking(&turns, "same", Length::Short);
        take(&turns, "other", Length::Short).unwrap();
        assert_eq!(second.recv_timeout(Duration::ZERO).err(), Some(RecvTimeoutError::Timeout));
        drop(first);
        second.recv_timeout(SOON).unwrap();
    }

    #[test]
    fn at_most_two_compilations_are_abandoned_and_none_of_them_is_repeated() {
        let turns = Turns::default();
        let one = take(&turns, "one", Length::Long).unwrap();
        turns.abandon(one.number());
        assert_eq!(others(&take(&turns, "one", Length::Long).err().unwrap()), 1);

        // The last turn is free for a long compilation too.
        let two = take(&turns, "two", Length::Long).unwrap();
        let three = taking(&turns, "three", Length::Short);
        assert_eq!(three.recv_timeout(Duration::ZERO).err(), Some(RecvTimeoutError::Timeout));
        drop(two);
        drop(three.recv_timeout(SOON).unwrap());

        let two = take(&turns, "two", Length::Short).unwrap();
        turns.abandon(two.number());
        assert_eq!(others(&take(&turns, "three", Length::Short).err().unwrap()), 2);
        drop((one, two));
        take(&turns, "one", Length::Long).unwrap();
    }

    #[test]
    fn a_waiting_compilation_is_refused_once_the_one_before_it_is_abandoned() {
        let turns = Turns::default();
        let first = take(&turns, "same", Length::Short).unwrap();
        let (again, (refused, outcome)) = (turns.clone(), sync_channel(1));
        thread::spawn(move || refused.send(take(&again, "same", Length::Short).err()));
        turns.abandon(first.number());
        assert_eq!(others(&outcome.recv_timeout(SOON).unwrap().unwrap()), 1);
    }

    #[test]
    fn only_a_compilation_with_its_memory_is_waited_for() {
        let turns = Turns::default();
        let first = take(&turns, "first", Length::Short).unwrap();
        let second = take(&turns, "second", Length::Short).unwrap();
        assert!(!second.is_behind_another());
        first.begin();
        assert!(second.is_behind_another());
        turns.abandon(first.number());
        assert!(!second.is_behind_another());
    }
}
