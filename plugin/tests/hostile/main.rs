//! Guests that misbehave, each with what must come of it: one line a guest.
//!
//! Each of them has a process of its own, so that its memory is its own. After it, a good
//! plugin is called there, and every instance of the engine must be free again. The
//! guest that needs most memory is also called 128 times at once. What bounds the time of
//! a row is the sandbox itself: the deadline of a call, the time to compile.
//! `cargo test --test hostile -- WORD` runs the rows whose name has the word.
//! `WRITE_DOCS=1` writes the table of docs/explanation/sandbox.md, and otherwise the test
//! fails if the table has other rows.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]
#![allow(clippy::print_stdout, reason = "it says what it has seen")]

mod calls;
mod loads;
#[allow(dead_code, reason = "shared with the tests of the sandbox")]
#[path = "../sandbox/rig.rs"]
mod rig;
mod table;
mod trial;

use futures_util::future::BoxFuture;
use std::process::ExitCode;
use trial::{Measured, Trial};

/// The environment variable that names the row of a child process.
const ROW: &str = "HOSTILE_ROW";

/// The environment variable with the number of calls at once in a child process.
const AT_ONCE: &str = "HOSTILE_AT_ONCE";

/// Calls at once of the guest that needs most memory.
const MANY: u32 = 128;

/// The memory that all calls of an engine may have in the trial with many at once.
const BUDGET_MIB: usize = 512;

/// The memory that a process may keep beyond what it had before. The allocator keeps some
/// of the compiler's memory.
const KEPT_MIB: usize = 96;

const MIB: usize = 1024 * 1024;

/// One guest: its name, what comes of it, and how it is tried.
struct Row {
    name: &'static str,
    expected: &'static str,
    /// Maximum growth of the process during the trial, in MiB.
    budget_mib: usize,
    attempt: for<'a> fn(&'a Trial) -> BoxFuture<'a, String>,
}

fn rows() -> impl Iterator<Item = &'static Row> {
    calls::ROWS.iter().chain(loads::ROWS)
}

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(ROW) {
        let row = rows().find(|row| row.name == name).expect("the parent names a row");
        trial::run(row, std::env::var(AT_ONCE).ok().map(|number| number.parse().unwrap()));
        return ExitCode::SUCCESS;
    }
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let chosen = rows().filter(|row| word.as_ref().is_none_or(|word| row.name.contains(word)));
    // What the compiler needs is not the memory of the call.
    trial::compile_ahead(calls::GUESTS);
    let mut faults = 0;
    let mut seen = Vec::new();
    for row in chosen {
        let measured = trial::in_child(row, None);
        faults += print(row, &measured);
        seen.push((row, measured));
    }
    let is_call = |row: &Row| calls::ROWS.iter().any(|call| call.name == row.name);
    let worst = seen.iter().filter(|(row, _)| is_call(row)).max_by_key(|(_, it)| it.grown_kib());
    if let Some((row, _)) = worst {
        let many = trial::in_child(row, Some(MANY));
        faults += print_many(row, &many);
        if word.is_none() {
            faults += table::write_or_compare(&seen, &many);
        }
    }
    println!("{} guests, {faults} faults", seen.len());
    if faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a line, and returns the number of faults.
fn print(row: &Row, measured: &Measured) -> usize {
    let mut faults = measured.faults.clone();
    if !measured.outcome.starts_with(row.expected) {
        faults.push(format!("expected: {}", row.expected));
    }
    if measured.grown_kib() > row.budget_mib * 1024 {
        faults.push(format!("it may grow by {} MiB", row.budget_mib));
    }
    if measured.kept_kib() > KEPT_MIB * 1024 {
        faults.push(format!("it may keep {KEPT_MIB} MiB"));
    }
    let Measured { outcome, .. } = measured;
    println!("{:<46} {} {outcome}", row.name, measured.memory());
    faults.iter().for_each(|fault| println!("    {fault}"));
    faults.len()
}

/// Prints the line of the trial with many calls at once, and returns the number of faults.
fn print_many(row: &Row, many: &Measured) -> usize {
    let mut faults = many.faults.clone();
    if many.grown_kib() > BUDGET_MIB * 1024 {
        faults.push(format!("all calls together may have {BUDGET_MIB} MiB"));
    }
    println!("{MANY} at once: {:<33} {} {}", row.name, many.memory(), many.outcome);
    faults.iter().for_each(|fault| println!("    {fault}"));
    faults.len()
}
