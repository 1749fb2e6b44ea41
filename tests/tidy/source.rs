//! The Rust sources of the workspace.

use std::fs;
use std::path::{Path, PathBuf};

use super::packages::folders;

/// Folders inside packages that contain generated or third-party files.
const SKIPPED: &[&str] = &["target", "gen", "node_modules", ".venv"];

/// A source file.
pub(super) struct Source {
    /// The path relative to the workspace's root.
    pub(super) path: String,
    pub(super) text: String,
}

impl Source {
    /// Returns the text without tests, up to the first inline test module. A declaration of a
    /// test module in another file is replaced with empty lines, so line numbers do not
    /// change.
    pub(super) fn product_text(&self) -> String {
        let mut text = String::with_capacity(self.text.len());
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test,") {
                match lines.next() {
                    Some(next) if next.ends_with(';') => text.push('\n'),
                    _ => break,
                }
            } else {
                text.push_str(line);
            }
            text.push('\n');
        }
        text
    }

    /// Returns `true` if the file is part of a program or a library and not of a test.
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

/// Reads all source files, sorted by path.
pub(super) fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    for folder in folders() {
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

#[test]
fn tests_are_not_part_of_the_product() {
    let text = "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(all(test, unix))]\nmod c {\n    d\n}\n";
    let source = Source { path: String::new(), text: text.to_owned() };
    assert_eq!(source.product_text(), "a\n\n\nb\n");
}
