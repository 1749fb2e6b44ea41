//! `behaviour-host example`.

use program::say;

pub(super) const EXAMPLES: &str = "\
Examples:
  behaviour-host example > host.toml";

/// Prints the example configuration. A test compares its keys with the reference.
pub(super) fn print() {
    say(include_str!("../../host.example.toml").trim_end());
}
