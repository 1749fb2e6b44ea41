//! Rules for documentation and spelling.

use std::fs;

use super::expect_none;
use super::packages::PACKAGES;
use super::source::{root, sources};

/// Words that start a clause. Doc lines of types, fields, constants and variants start with a
/// noun phrase, doc lines of functions with a third-person verb.
const CLAUSES: &[&str] = &[
    "What", "Whatever", "Whether", "Who", "Whoever", "Whom", "Whose", "How", "Where", "Wherever",
    "Why", "Which", "When",
];

#[test]
fn doc_comments_start_with_a_noun_or_a_verb() {
    let mut violations = Vec::new();
    for source in sources() {
        let mut before = "";
        for (index, line) in source.text.lines().enumerate() {
            for marker in ["///", "//!"] {
                let Some(text) = line.trim_start().strip_prefix(marker) else { continue };
                let first = text.trim_start().split(|c: char| !c.is_alphabetic()).next();
                let starts = !before.trim_start().starts_with(marker);
                if starts && let Some(word) = first.filter(|word| CLAUSES.contains(word)) {
                    violations.push(format!(
                        "{}:{}: a doc comment starts with `{word}` instead of a noun or verb",
                        source.path,
                        index + 1
                    ));
                }
            }
            before = line;
        }
    }
    expect_none(&violations);
}

#[test]
fn every_file_starts_with_a_doc_comment() {
    let violations: Vec<String> = sources()
        .iter()
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| format!("{}:1: no module documentation", source.path))
        .collect();
    expect_none(&violations);
}

/// Libraries that no other crate uses, because they are entry points of components.
const ENTRY_POINTS: &[&str] = &["guest-reboot/real", "bench/probe"];

#[test]
fn every_library_has_an_example_in_its_docs_and_one_to_run() {
    let mut violations = Vec::new();
    for folder in PACKAGES.iter().map(|package| package.folder) {
        let library = root().join(folder).join("src/lib.rs");
        let Ok(text) = fs::read_to_string(library) else { continue };
        if ENTRY_POINTS.contains(&folder) {
            continue;
        }
        let mut page = text.lines().take_while(|line| line.starts_with("//!"));
        if !page.any(|line| line.starts_with("//! ```")) {
            violations
                .push(format!("{folder}/src/lib.rs:1: no example in the crate's documentation"));
        }
        if !fs::read_dir(root().join(folder).join("examples")).is_ok_and(|files| files.count() > 0)
        {
            violations.push(format!("{folder}: no program under examples/"));
        }
    }
    expect_none(&violations);
}

#[test]
fn behaviour_has_british_spelling() {
    // The word is concatenated so that this file does not violate the rule.
    let american = ["behav", "ior"].concat();
    let outside = ["missedtick", "dumpable"].map(|name| [name, &american].concat());
    let mut violations = Vec::new();
    for source in sources() {
        for (index, line) in source.text.lines().enumerate() {
            let mut line = line.to_lowercase().replace('_', "");
            // Names in tokio and rustix have the American spelling.
            outside.iter().for_each(|name| line = line.replace(name, ""));
            if line.contains(&american) {
                violations.push(format!("{}:{}: `{american}`", source.path, index + 1));
            }
        }
    }
    expect_none(&violations);
}
