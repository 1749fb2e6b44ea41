//! Completes the snippets of the pages, so that each compiles on its own.
//!
//! On the page about plugins in Rust, a fragment becomes the body of a function of a plugin.
//! On all other pages, it becomes the body of an async function that allows `?`. A snippet
//! that is a complete file is unchanged, except for the path of the WIT.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the build")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The lines before and after a fragment of a plugin.
const IN_A_PLUGIN: [&str; 2] = [
    r#"#![allow(unused, unreachable_code, reason = "a snippet shows a part of a program")]
mod fragment {
wit_bindgen::generate!({
    inline: "package docs:snippets; world mine {
        include device:behaviour/behaviour@0.1.2;
        import device:behaviour/power@0.1.2;
        export device:behaviour/deferred@0.1.2;
        export device:behaviour/desired@0.1.2;
        export device:behaviour/lifecycle@0.1.2; }",
    path: "WIT",
    world: "docs:snippets/mine",
    generate_all,
});
use device::behaviour::log::{self, Level};
use device::behaviour::types::*;
struct Plugin;
fn fragment() {"#,
    "}\n}\nfn main() {}",
];

/// The lines before and after a fragment of a program.
const IN_A_PROGRAM: [&str; 2] = [
    "#![allow(unused, reason = \"a snippet shows a part of a program\")]\nasync fn fragment() -> Result<(), Box<dyn std::error::Error>> {",
    "Ok(()) }\nfn main() {}",
];

fn main() {
    let docs = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    let wit = docs.parent().unwrap().join("wit");
    let mut pages = Vec::new();
    find(&docs, &mut pages);
    pages.sort();
    let mut modules = String::new();
    for page in pages {
        let snippets = snippets(&fs::read_to_string(&page).unwrap(), &page, &wit);
        if !snippets.is_empty() {
            let name = page.strip_prefix(&docs).unwrap().to_string_lossy().into_owned();
            let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            fs::write(out.join(&name), snippets).unwrap();
            writeln!(
                modules,
                "#[doc = include_str!(concat!(env!(\"OUT_DIR\"), \"/{name}\"))]\nmod {name} {{}}"
            )
            .unwrap();
        }
    }
    fs::write(out.join("snippets.rs"), modules).unwrap();
}

fn find(folder: &Path, pages: &mut Vec<PathBuf>) {
    println!("cargo::rerun-if-changed={}", folder.display());
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, pages);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
}

/// Returns the completed Rust blocks of a page.
fn snippets(page: &str, path: &Path, wit: &Path) -> String {
    let about_plugins = path.ends_with("languages/rust.md");
    let mut all = String::new();
    for block in page.split("\n```rust\n").skip(1) {
        let (block, _) = block.split_once("\n```").unwrap();
        let [before, after] = match (
            block.contains("fn main") || block.contains("generate!"),
            about_plugins,
        ) {
            // A complete plugin consists of items and has no `main`.
            (true, true) => [
                "#![allow(unused, reason = \"a snippet shows a part of a program\")]\nmod plugin {",
                "}\nfn main() {}",
            ],
            (true, false) => ["", ""],
            (false, true) => IN_A_PLUGIN,
            (false, false) => IN_A_PROGRAM,
        };
        let block = block.replace("path: \"wit\"", "path: \"WIT\"");
        // A snippet becomes a module in a file, where inner doc comments are not allowed.
        let block: String = block.lines().map(|line| line.replace("//!", "//") + "\n").collect();
        let whole = format!("{before}\n{block}{after}").replace("WIT", &wit.display().to_string());
        writeln!(all, "```no_run\n{whole}\n```\n").unwrap();
    }
    all
}
