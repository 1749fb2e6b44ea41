//! The page docs/modules.md, which lists the modules of each package and their dependencies.
//!
//! `WRITE_DOCS=1 cargo test -p tests page_of_modules` writes the page. The test fails if the
//! page differs from the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use super::graph::Graph;
use crate::tidy::packages::{PACKAGES, Package};
use crate::tidy::source::root;

const HEAD: &str = "# Modules

The modules of each crate, from the highest to the lowest: a module uses only modules in the rows below its own. The crate
roots (`lib.rs`, `main.rs`) may use every module and are not listed. `WRITE_DOCS=1 cargo test -p tests page_of_modules` writes
this page from the sources. The tests fail if it differs from them, or if the modules of a crate form a cycle.
";

/// The modules that each module uses.
type Arrows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_page_of_modules_matches_the_sources() {
    let mut page = HEAD.to_owned();
    for Package { folder, .. } in PACKAGES {
        let graph = Graph::read(folder);
        let mut arrows: Arrows = graph
            .top_level()
            .into_iter()
            .map(|module| (module.to_owned(), BTreeSet::new()))
            .collect();
        for (from, to, _) in graph.arrows().filter(|(_, to, _)| to != "lib") {
            arrows.entry(from).or_default().insert(to);
        }
        if arrows.len() > 1 {
            write!(page, "\n## {folder}\n\n| Module | Contents | Uses |\n|---|---|---|\n").unwrap();
            for (module, uses) in from_the_highest(arrows) {
                let text = fs::read_to_string(root().join(format!("{folder}/src/{module}.rs")));
                let contents = first_sentence(&text.unwrap());
                let uses: Vec<String> = uses.iter().map(|name| format!("`{name}`")).collect();
                writeln!(page, "| `{module}` | {contents} | {} |", uses.join(", ")).unwrap();
            }
        }
    }
    let path = root().join("docs/modules.md");
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(path, page).unwrap();
        return;
    }
    let found = fs::read_to_string(path).unwrap();
    let differs = found.lines().zip(page.lines()).position(|(found, written)| found != written);
    assert!(
        found == page,
        "docs/modules.md:{}: differs from the sources; run with WRITE_DOCS=1",
        differs.map_or(0, |index| index + 1)
    );
}

/// Sorts the modules so that each comes before the modules that it uses. Modules that form
/// a cycle are sorted by name.
fn from_the_highest(mut arrows: Arrows) -> Vec<(String, BTreeSet<String>)> {
    let mut sorted = Vec::new();
    while !arrows.is_empty() {
        let used: BTreeSet<&String> = arrows.values().flatten().collect();
        let next = arrows.keys().find(|module| !used.contains(module)).or(arrows.keys().next());
        let next = next.expect("the map is not empty").clone();
        sorted.extend(arrows.remove_entry(&next));
    }
    sorted
}

/// Returns the first sentence of a module's documentation, formatted as a table cell.
fn first_sentence(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!").map(str::trim));
    let paragraph: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    let paragraph = paragraph.join(" ");
    let sentence = paragraph.split_once(". ").map_or(paragraph.as_str(), |(first, _)| first);
    sentence.trim_end_matches('.').replace("[`", "`").replace("`]", "`").replace('|', "\\|")
}

#[test]
fn a_module_comes_before_the_modules_that_it_uses() {
    let to = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let arrows = Arrows::from([
        ("a".to_owned(), to(&[])),
        ("b".to_owned(), to(&["a"])),
        ("c".to_owned(), to(&["a", "b"])),
        ("d".to_owned(), to(&[])),
    ]);
    let sorted: Vec<String> = from_the_highest(arrows).into_iter().map(|(name, _)| name).collect();
    assert_eq!(sorted, ["c", "b", "a", "d"]);
}

#[test]
fn a_module_is_described_by_its_first_sentence() {
    let source = "//! Errors of [`load`], or\n//! of `a | b`. More.\n//!\n//! Else.\nuse a;\n";
    assert_eq!(first_sentence(source), "Errors of `load`, or of `a \\| b`");
}
