//! The rules of the project, checked by reading its sources.
//!
//! Each rule is one test. It fails with a line per violation, `file:line: reason`.

mod docs;
mod errors;
mod files;
mod homes;
mod modules;
mod once;
mod packages;
mod source;
mod tokens;
mod types;

/// Fails with all violations of a rule, if there are any.
fn expect_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}
