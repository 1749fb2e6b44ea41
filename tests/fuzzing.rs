//! The fuzz targets as an ordinary test. Each target runs on its corpus and on thousands of
//! mutations of it.
//!
//! `cargo fuzz` finds more, because it measures the coverage of an input, but it needs
//! minutes and special compiler flags (CONTRIBUTING.md). Its findings are added to the
//! corpus, so that this test repeats them.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;

use targets::{TARGETS, Target};

/// The number of mutations for each target.
const MUTATIONS: u64 = 20_000;

/// The number of mutations for targets that compile their inputs or run a guest.
const SLOW_MUTATIONS: u64 = 1000;

/// The names of these targets.
const SLOW: [&str; 3] = ["arguments", "cache_files", "components"];

/// The maximum size of an input, in bytes.
const MAX_BYTES: usize = 4096;

#[test]
fn no_input_breaks_a_target() {
    // Every run has the same inputs, so that only a change of the code can cause a failure.
    // FUZZ_SEED selects other inputs.
    let seed = std::env::var("FUZZ_SEED").map_or(1, |seed| seed.parse().unwrap());
    std::thread::scope(|scope| {
        for target in TARGETS {
            std::thread::Builder::new()
                .name(target.0.to_owned())
                .spawn_scoped(scope, move || run(target, seed))
                .unwrap();
        }
    });
}

fn run((name, target): Target, seed: u64) {
    let folder = rig::workspace().join("fuzz/corpus").join(name);
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    assert!(corpus.len() > 2, "{} has no corpus", folder.display());
    for input in &corpus {
        target(input);
    }
    let mut random = Random(seed | 1);
    for _ in 0..if SLOW.contains(&name) { SLOW_MUTATIONS } else { MUTATIONS } {
        let input = random.mutation(&corpus);
        let result = std::panic::catch_unwind(|| target(&input));
        assert!(result.is_ok(), "{name}: FUZZ_SEED={seed}: {:?}", input.escape_ascii().to_string());
    }
}

/// A xorshift generator, which yields the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    /// Returns an input of the corpus with one to eight changes.
    fn mutation(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(8) {
            let at = self.below(input.len());
            match self.below(6) {
                // Flip a bit, replace a byte, insert a byte, or remove a range.
                0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
                1 if !input.is_empty() => input[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
                2 => input.insert(at, b"\0 %$/?&=#+{}[]\",:\n~"[self.below(19)]),
                3 => drop(input.drain(at..(at + self.below(16)).min(input.len()))),
                // Insert a copy of a range of this input or of another input.
                4 => {
                    let range = input[at..(at + self.below(64)).min(input.len())].to_vec();
                    let to = self.below(input.len() + 1);
                    drop(input.splice(to..to, range));
                }
                _ => {
                    let other = &corpus[self.below(corpus.len())];
                    let from = self.below(other.len());
                    let end = (from + self.below(64)).min(other.len());
                    drop(input.splice(at..at, other[from..end].iter().copied()));
                }
            }
            input.truncate(MAX_BYTES);
        }
        input
    }
}
