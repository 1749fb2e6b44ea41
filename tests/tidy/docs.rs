//! Doc comments: every file has one.

use super::expect_none;
use super::source::sources;

#[test]
fn every_file_starts_with_a_doc_comment() {
    let violations: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| format!("{}:1: no module documentation", source.path))
        .collect();
    expect_none(&violations);
}

#[test]
fn behaviour_is_spelled_the_british_way() {
    // Composed here, so that this file does not break its own rule.
    let american = ["behav", "ior"].concat();
    let tokio = ["missedtick", &american].concat();
    let mut violations = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            // One type of tokio has the American spelling in its name.
            if line.to_lowercase().replace('_', "").replace(&tokio, "").contains(&american) {
                violations.push(format!("{}:{}: `{american}`", source.path, index + 1));
            }
        }
    }
    expect_none(&violations);
}
