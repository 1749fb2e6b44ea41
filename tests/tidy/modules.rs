//! Rules for the dependencies between modules, which must not have cycles.
//!
//! A table lists the modules of a crate from the lowest to the highest. A module may name
//! only modules in earlier lines of the table, so cycles are impossible. Crate roots
//! (`lib.rs`, `main.rs`) may name every module, and no module may name them.

mod graph;
mod page;
mod tables;

use super::expect_none;
use super::packages::{PACKAGES, Package};
use graph::Graph;
use tables::TABLES;

#[test]
fn modules_name_only_the_modules_that_the_table_allows() {
    let mut violations = Vec::new();
    for (package, table) in TABLES {
        let graph = Graph::read(package);
        for module in graph.top_level() {
            if !table.iter().any(|(name, _)| *name == module) {
                violations.push(format!("{package}/src/{module}: missing in the table of modules"));
            }
        }
        for (from, to, location) in graph.arrows() {
            let allowed = table.iter().find(|(name, _)| *name == from).map(|(_, below)| *below);
            if allowed.is_some_and(|below| !below.contains(&to.as_str())) {
                violations.push(format!("{location}: `{from}` must not name `{to}`"));
            }
        }
    }
    expect_none(&violations);
}

#[test]
fn the_tables_of_modules_have_no_cycle_and_no_unused_arrow() {
    let mut violations = Vec::new();
    for (package, table) in TABLES {
        let graph = Graph::read(package);
        for (line, (module, below)) in table.iter().enumerate() {
            for name in *below {
                if !table[..line].iter().any(|(lower, _)| lower == name) {
                    violations
                        .push(format!("{package}: `{module}` → `{name}`: not lower in the table"));
                }
                if !graph.arrows().any(|(from, to, _)| from == *module && to == *name) {
                    violations.push(format!("{package}: `{module}` → `{name}`: unused"));
                }
            }
            if !graph.top_level().contains(*module) {
                violations.push(format!("{package}: no module `{module}`"));
            }
        }
    }
    expect_none(&violations);
}

#[test]
fn sibling_modules_form_no_cycle() {
    let mut violations = Vec::new();
    for Package { folder, .. } in PACKAGES {
        violations.extend(Graph::read(folder).cycles());
    }
    expect_none(&violations);
}
