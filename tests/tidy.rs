//! The rules of the project, which are checked by reading its sources.
//!
//! Each rule is a test. It fails with one line for each violation, `file:line: reason`.

mod docs;
mod duplicates;
mod errors;
mod files;
mod log_targets;
mod modules;
mod outside_names;
mod packages;
mod source;
mod tokens;
mod types;

/// Panics with all violations of a rule if there are any.
fn expect_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
