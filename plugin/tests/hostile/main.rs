//! Guests that misbehave, one per row, with the expected outcome.
//!
//! Each row runs in a separate process, so that its memory can be measured. Then the process
//! calls a well-behaved plugin, and checks that no instance has leaked. The guest that needs
//! most memory is also called 128 times concurrently, in two orders: all plugins load before
//! the first call, or they load while calls run. The sandbox limits the time of a row: the
//! deadline of a call, and the time limit of a compilation.
//!
//! `cargo test --test hostile -- WORD` runs the rows whose names contain the word.
//! `WRITE_DOCS=1` writes the table of docs/explanation/sandbox.md. Otherwise the test fails if
//! the table has other rows.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]
#![allow(clippy::print_stdout, reason = "the output is the result")]

mod calls;
mod loads;
#[allow(dead_code, reason = "shared with the tests of the sandbox")]
#[path = "../sandbox/rig.rs"]
mod rig;
mod table;
mod trial;

use futures_util::future::BoxFuture;
use std::fmt;
use std::process::ExitCode;
use trial::{Measured, Trial};

/// Environment variable with the name of a child process's row.
const ROW: &str = "HOSTILE_ROW";

/// Environment variable with the order of a child process with concurrent calls.
const ORDER: &str = "HOSTILE_ORDER";

/// Concurrent calls of the guest that needs most memory.
const MANY: u32 = 128;

/// Memory budget of the engine in the trials with concurrent calls.
const BUDGET_MIB: usize = 512;

/// Maximum growth of the process that remains after a trial. The allocator keeps some of the
/// compiler's memory.
const KEPT_MIB: usize = 96;

const MIB: usize = 1024 * 1024;

/// Order of loads and calls in a trial with concurrent calls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// All plugins load before the first call.
    LoadsFirst,
    /// Plugins load while calls run.
    LoadsBesideCalls,
}

impl Order {
    const ALL: [Order; 2] = [Order::LoadsFirst, Order::LoadsBesideCalls];
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Order::LoadsFirst => "all loaded first",
            Order::LoadsBesideCalls => "loaded beside running calls",
        })
    }
}

/// Guest with its name, its expected outcome and its trial.
struct Row {
    name: &'static str,
    expected: &'static str,
    /// Maximum growth of the process during the trial, in MiB.
    budget_mib: usize,
    attempt: for<'a> fn(&'a Trial) -> BoxFuture<'a, String>,
}

fn rows() -> impl Iterator<Item = &'static Row> {
    calls::ROWS.iter().chain(calls::SEQUENCES).chain(loads::ROWS)
}

fn main() -> ExitCode {
    if let Ok(name) = std::env::var(ROW) {
        let row = rows().find(|row| row.name == name).expect("the parent names a row");
        let order = std::env::var(ORDER).ok();
        let order = order.and_then(|name| Order::ALL.into_iter().find(|it| it.to_string() == name));
        trial::run(row, order);
        return ExitCode::SUCCESS;
    }
    let word = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let chosen = rows().filter(|row| word.as_ref().is_none_or(|word| row.name.contains(word)));
    // The memory of the compiler must not count as memory of the calls.
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
        let many = Order::ALL.map(|order| (order, trial::in_child(row, Some(order))));
        for (order, measured) in &many {
            faults += print_many(row, *order, measured);
        }
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
        faults.push(format!("grew by more than {} MiB", row.budget_mib));
    }
    if measured.kept_kib() > KEPT_MIB * 1024 {
        faults.push(format!("kept more than {KEPT_MIB} MiB"));
    }
    let Measured { outcome, .. } = measured;
    println!("{:<46} {} {outcome}", row.name, measured.memory());
    faults.iter().for_each(|fault| println!("    {fault}"));
    faults.len()
}

/// Prints the line of a trial with concurrent calls, and returns the number of faults.
fn print_many(row: &Row, order: Order, many: &Measured) -> usize {
    let mut faults = many.faults.clone();
    if many.grown_kib() > BUDGET_MIB * 1024 {
        faults.push(format!("grew by more than the budget of {BUDGET_MIB} MiB"));
    }
    let name = format!("{MANY} calls, {order}: {}", row.name);
    println!("{name:<46} {} {}", many.memory(), many.outcome);
    faults.iter().for_each(|fault| println!("    {fault}"));
    faults.len()
}
