//! Rule for type names: no two types of a crate have the same name.

use std::collections::BTreeMap;

use super::expect_none;
use super::source::{Source, sources};
use super::tokens::tokens;

/// The exceptions. Each has the crate, the shared name and the reason.
const SHARED: &[(&str, &str, &str)] = &[];

#[test]
fn no_two_types_of_a_crate_share_a_name() {
    let mut locations: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for source in sources() {
        let Some(krate) = crate_of(&source) else { continue };
        for (line, name) in type_names(&source.product_text()) {
            let location = format!("{}:{line}", source.path);
            locations.entry((krate.clone(), name)).or_default().push(location);
        }
    }
    let is_shared = |krate: &str, name: &str| {
        SHARED.iter().any(|(in_crate, shared, _)| (*in_crate, *shared) == (krate, name))
    };
    let mut violations: Vec<String> = locations
        .iter()
        .filter(|((krate, name), locations)| locations.len() > 1 && !is_shared(krate, name))
        .map(|((_, name), locations)| format!("{}: also a `{name}`", locations.join(", ")))
        .collect();
    for (krate, name, _) in SHARED {
        let found = locations.get(&((*krate).to_owned(), (*name).to_owned())).map_or(0, Vec::len);
        if found < 2 {
            violations.push(format!("{krate}: `{name}` is no longer shared"));
        }
    }
    expect_none(&violations);
}

/// Returns the crate of a file. Returns `None` for tests inside a package, where each file
/// is a separate crate.
fn crate_of(source: &Source) -> Option<String> {
    if source.path.starts_with("tests/") {
        let part = source.path.split('/').nth(1)?;
        return match part {
            "benches" => None,
            "rig" | "soak" | "walk" => Some(format!("tests/{part}")),
            _ => Some("tests".to_owned()),
        };
    }
    let (package, _) = source.path.split_once("/src/")?;
    source.is_product().then(|| package.to_owned())
}

/// Returns the types that a source defines outside functions and implementations.
fn type_names(text: &str) -> Vec<(usize, String)> {
    let tokens = tokens(text);
    let mut names = Vec::new();
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate() {
        if token.is_mark('{') {
            depth += 1;
        } else if token.is_mark('}') {
            depth -= 1;
        } else if depth == 0
            && ["struct", "enum", "union", "trait", "type"].iter().any(|word| token.is_word(word))
            && let Some(name) = tokens.get(index + 1).and_then(|name| name.word())
        {
            names.push((token.line, name.to_owned()));
        }
    }
    names
}

#[test]
fn types_inside_functions_and_implementations_are_not_counted() {
    let text =
        "pub struct A;\nimpl A {\n    type B = C;\n}\nfn f() {\n    enum D {}\n}\ntype E = A;";
    assert_eq!(type_names(text), [(1, "A".to_owned()), (8, "E".to_owned())]);
}
