//! Table of the results in docs/explanation/sandbox.md.

use crate::trial::Measured;
use crate::{BUDGET_MIB, MANY, Order, Row};
use std::fs;
use std::path::Path;

const BEGIN: &str = "<!-- hostile guests: written by the test -->\n";
const END: &str = "<!-- end of the hostile guests -->\n";

/// Returns the start of a line, which is compared. The figures after it are not.
fn promise(row: &Row) -> String {
    let expected = row.expected.trim_end_matches(": ");
    format!("| {} | {expected} | {} ", row.name, row.budget_mib)
}

fn promise_of_many(order: Order) -> String {
    format!(
        "| the guest that needs most memory, {MANY} concurrent calls, {order} |  | {BUDGET_MIB} "
    )
}

/// Writes the table if `WRITE_DOCS` is set, and otherwise compares its promises. Returns the
/// number of faults.
pub(crate) fn write_or_compare(seen: &[(&Row, Measured)], many: &[(Order, Measured)]) -> usize {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/explanation/sandbox.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the page has the start of the table");
    let (table, after) = rest.split_once(END).expect("the page has the end of the table");
    if std::env::var_os("WRITE_DOCS").is_some() {
        let head = "| Guest | Outcome | Budget | Before | Peak | After |\n\
                    |---|---|---|---|---|---|\n";
        let lines = seen.iter().map(|(row, it)| format!("{}{}\n", promise(row), it.memory()));
        let lines: String = lines.collect();
        let last =
            many.iter().map(|(order, it)| format!("{}{}\n", promise_of_many(*order), it.memory()));
        let last: String = last.collect();
        fs::write(&path, format!("{before}{BEGIN}{head}{lines}{last}{END}{after}")).unwrap();
        return 0;
    }
    let of_many = many.iter().map(|(order, _)| promise_of_many(*order));
    let promises: Vec<_> = seen.iter().map(|(row, _)| promise(row)).chain(of_many).collect();
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
