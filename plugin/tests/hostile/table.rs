//! The results of all rows, as a table of docs/explanation/sandbox.md.

use crate::trial::Measured;
use crate::{BUDGET_MIB, MANY, Row};
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- hostile guests: written by the test -->\n";
const END: &str = "<!-- end of the hostile guests -->\n";

/// Returns the promise, which is the start of the line; the figures follow it.
fn promise(row: &Row) -> String {
    let expected = row.expected.trim_end_matches(": ");
    format!("| {} | {expected} | {} ", row.name, row.budget_mib)
}

fn promise_of_many() -> String {
    format!("| the one that needs most, {MANY} calls at once |  | {BUDGET_MIB} ")
}

/// Writes the table if `WRITE_DOCS` is set, and otherwise compares its promises. Returns the
/// number of faults.
pub(crate) fn write_or_compare(seen: &[(&Row, Measured)], many: &Measured) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/explanation/sandbox.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has the start of the table");
    let (table, after) = rest.split_once(END).expect("the page has the end of the table");
    if std::env::var_os("WRITE_DOCS").is_some() {
        let head = "| Guest | Outcome | Budget | Before | At most | After |\n\
                    |---|---|---|---|---|---|\n";
        let lines = seen.iter().map(|(row, it)| format!("{}{}\n", promise(row), it.memory()));
        let lines: String = lines.collect();
        let last = format!("{}{}\n", promise_of_many(), many.memory());
        fs::write(&path, format!("{before}{BEGIN}{head}{lines}{last}{END}{after}")).unwrap();
        return 0;
    }
    let promises: Vec<_> =
        seen.iter().map(|(row, _)| promise(row)).chain([promise_of_many()]).collect();
    let missing: Vec<_> = promises.iter().filter(|promise| !table.contains(*promise)).collect();
    missing
        .iter()
        .for_each(|promise| println!("    not in docs/explanation/sandbox.md: {promise}"));
    let others = table.lines().count() != promises.len() + 2;
    if others {
        println!("    docs/explanation/sandbox.md has rows of guests that do not exist");
    }
    missing.len() + usize::from(others)
}
