//! The Rust sources of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

/// The folders that hold sources.
const FOLDERS: &[&str] = &[
    "protocol",
    "trust",
    "program",
    "plugin",
    "host",
    "hub",
    "service",
    "behaviour",
    "guest-reboot",
    "tutorial",
    "tests",
    "bench",
    "fuzz",
];

/// Folders below them that hold generated or foreign files.
const SKIPPED: &[&str] = &["target", "gen", "node_modules", ".venv"];

/// One source file.
pub(super) struct Source {
    /// The path from the workspace's root.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// Returns the lines of the product, numbered from 1: without comments, and
    /// up to the first test module.
    pub(super) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Returns the text up to the first test module, comments included.
    pub(super) fn product_text(&self) -> &str {
        let end = self.text.find("\n#[cfg(test)]\n").unwrap_or(self.text.len());
        &self.text[..end]
    }

    /// Returns whether the file is part of a program or a library, not of a test.
    pub(super) fn is_product(&self) -> bool {
        !["/tests/", "/benches/", "/examples/"].iter().any(|folder| self.path.contains(folder))
            && !self.path.ends_with("/tests.rs")
            && !self.path.starts_with("tests/")
            && !self.path.starts_with("fuzz/")
    }
}

/// Returns the root of the workspace.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("`tests` is a folder of the workspace")
}

/// Reads all source files, in the order of their paths.
pub(super) fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        walk(&root().join(folder), &mut files);
    }
    files.sort();
    let sources: Vec<Source> = files
        .iter()
        .map(|file| Source {
            path: file.strip_prefix(root()).unwrap().to_string_lossy().into_owned(),
            text: fs::read_to_string(file).unwrap(),
        })
        .collect();
    assert!(sources.len() > 50, "only {} source files found", sources.len());
    sources
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.file_name().is_some_and(|name| SKIPPED.iter().any(|skipped| name == *skipped))
            {
                walk(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
