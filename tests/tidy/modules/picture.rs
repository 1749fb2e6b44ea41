//! The picture of the modules of each package, in docs/modules.md.
//!
//! `WRITE_DOCS=1 cargo test -p tests picture` writes the page, and the test fails if the
//! page differs from the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use super::PACKAGES;
use super::graph::Graph;
use crate::tidy::source::root;

const HEAD: &str = "# Modules

The modules of each crate, in the notation of [Mermaid](https://mermaid.js.org), which GitHub draws. An arrow leads to a
module whose items are used; an arrow that follows from others is left out. The crate roots (`lib.rs`, `main.rs`) may use
every module and are not drawn. `WRITE_DOCS=1 cargo test -p tests picture` writes this page. The tests compare it with the
sources, and fail if the modules of a crate form a cycle.
";

/// Modules, each with those that it uses.
type Arrows = BTreeMap<String, BTreeSet<String>>;

#[test]
fn the_picture_of_the_modules_shows_the_sources() {
    let mut page = HEAD.to_owned();
    for package in PACKAGES {
        let graph = Graph::read(package);
        let mut arrows: Arrows = graph
            .top_level()
            .into_iter()
            .map(|module| (module.to_owned(), BTreeSet::new()))
            .collect();
        for (from, to, _) in graph.arrows().filter(|(_, to, _)| to != "lib") {
            arrows.entry(from).or_default().insert(to);
        }
        if arrows.len() > 1 {
            let drawn = drawing(&arrows);
            write!(page, "\n## {package}\n\n```mermaid\ngraph TD\n{drawn}```\n").unwrap();
        }
    }
    let path = root().join("docs/modules.md");
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(path, page).unwrap();
        return;
    }
    let found = fs::read_to_string(path).unwrap();
    let differs = found.lines().zip(page.lines()).position(|(found, drawn)| found != drawn);
    assert!(
        found == page,
        "docs/modules.md:{}: not what the sources show; WRITE_DOCS=1 writes the page",
        differs.map_or(0, |index| index + 1)
    );
}

/// Returns the lines of a graph: modules without arrows first, then the arrows.
fn drawing(arrows: &Arrows) -> String {
    let used: BTreeSet<&String> = arrows.values().flatten().collect();
    let alone = arrows.iter().filter(|(module, to)| to.is_empty() && !used.contains(module));
    let mut lines: String = alone.map(|(module, _)| format!("    {}\n", node(module))).collect();
    for (from, to) in arrows {
        for next in to {
            let follows = to.iter().any(|other| other != next && leads_to(arrows, other, next));
            if !follows {
                writeln!(lines, "    {} --> {}", node(from), node(next)).unwrap();
            }
        }
    }
    lines
}

/// Returns the text of a node. A keyword of Mermaid has to be a label.
fn node(module: &str) -> String {
    match module {
        "call" | "class" | "click" | "default" | "end" | "graph" | "href" | "style" => {
            format!("{module}_[{module}]")
        }
        _ => module.to_owned(),
    }
}

/// Returns whether arrows lead from one module to another.
fn leads_to(arrows: &Arrows, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut left = vec![from];
    while let Some(module) = left.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            left.extend(arrows.get(module).into_iter().flatten().map(String::as_str));
        }
    }
    false
}

#[test]
fn an_arrow_that_follows_from_others_is_left_out() {
    let to = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let arrows = Arrows::from([
        ("a".to_owned(), to(&["b", "call"])),
        ("b".to_owned(), to(&["call"])),
        ("call".to_owned(), to(&[])),
        ("d".to_owned(), to(&[])),
    ]);
    assert_eq!(drawing(&arrows), "    d\n    a --> b\n    b --> call_[call]\n");
}
