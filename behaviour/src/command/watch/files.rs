//! The files that a plugin is made of, and whether they have changed.
//!
//! They are looked at a few times a second: a plugin has some dozens of files,
//! and not every file system tells by itself. What counts is what a file says;
//! one that a build writes anew as it was has not changed.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// The interval between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// Folders of tools, full of files that nobody saves.
const IGNORED: [&str; 2] = ["target", "node_modules"];

/// A hash of the contents of each file.
pub(super) type Contents = BTreeMap<PathBuf, u64>;

pub(super) struct Files {
    roots: Vec<PathBuf>,
    /// The files as last read, so that only changed ones are read again.
    known: BTreeMap<PathBuf, (Stamp, u64)>,
}

/// The size of a file, and the time of its last change.
type Stamp = (u64, Option<SystemTime>);

impl Files {
    pub(super) fn new(roots: Vec<PathBuf>) -> Files {
        Files { roots, known: BTreeMap::new() }
    }

    pub(super) fn look(&mut self) -> Contents {
        let mut found = BTreeMap::new();
        for root in &self.roots {
            self.look_at(root, &mut found);
        }
        let contents = found.iter().map(|(path, (_, content))| (path.clone(), *content)).collect();
        self.known = found;
        contents
    }

    /// Waits until the files differ from what they were, and until whoever saves
    /// them has done.
    pub(super) fn wait_for_change(&mut self, before: &Contents) {
        let mut last = None;
        loop {
            let begun = Instant::now();
            let now = self.look();
            if now != *before && last.as_ref() == Some(&now) {
                return;
            }
            last = Some(now);
            // A large folder is looked at less often, so that it costs no more.
            sleep(EVERY.max(begun.elapsed() * 10));
        }
    }

    /// Ignores files that cannot be read.
    fn look_at(&self, path: &Path, found: &mut BTreeMap<PathBuf, (Stamp, u64)>) {
        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        if metadata.is_dir() {
            let Ok(entries) = fs::read_dir(path) else { return };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if !name.starts_with('.') && !IGNORED.contains(&&*name) {
                    self.look_at(&entry.path(), found);
                }
            }
        } else if let Some(content) = self.content(path, &metadata) {
            found.insert(path.to_owned(), content);
        }
    }

    fn content(&self, path: &Path, metadata: &Metadata) -> Option<(Stamp, u64)> {
        let stamp = (metadata.len(), metadata.modified().ok());
        match self.known.get(path) {
            Some((known, content)) if *known == stamp => Some((stamp, *content)),
            _ => {
                let mut hasher = DefaultHasher::new();
                fs::read(path).ok()?.hash(&mut hasher);
                Some((stamp, hasher.finish()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_made_or_deleted_has_changed_and_tools_folders_are_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        for folder in ["src", "target", "node_modules", ".git"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            write(&format!("{folder}/file"), "a");
        }
        let mut files = Files::new(vec![dir.path().to_owned()]);
        let first = files.look();
        assert_eq!(first.len(), 1);

        write("target/file", "longer");
        assert_eq!(files.look(), first);
        write("src/file", "longer");
        let second = files.look();
        assert_ne!(second, first);
        write("new", "a");
        assert_ne!(files.look(), second);
        fs::remove_file(dir.path().join("new")).unwrap();
        assert_eq!(files.look(), second);
    }

    #[test]
    fn a_file_that_is_written_anew_as_it_was_has_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made");
        fs::write(&path, "a").unwrap();
        let mut files = Files::new(vec![path.clone()]);
        let before = files.look();

        fs::write(&path, "a").unwrap();
        let later = SystemTime::now() + Duration::from_secs(9);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(files.look(), before);
        fs::write(&path, "b").unwrap();
        assert_ne!(files.look(), before);
    }
}
