//! Detection of changes to the files of a plugin.
//!
//! The files are polled, since a plugin has only some dozens of them and not every file
//! system reports changes. Links are followed. Rewriting a file with the same contents is
//! not a change.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use program::FileStamp;

/// The minimum interval between two polls.
const INTERVAL: Duration = Duration::from_millis(200);

/// The names of folders to which build tools write.
const IGNORED: [&str; 2] = ["target", "node_modules"];

/// The maximum depth of nested folders that are read. It bounds the work if a link leads to
/// a large tree. The sources of a plugin are never nested this deeply.
const MAX_DEPTH: usize = 16;

/// The hash of the contents of each file.
pub(super) type Contents = BTreeMap<PathBuf, u64>;

pub(super) struct Files {
    roots: Vec<PathBuf>,
    /// The files at the last poll, so that only changed files are read again.
    known: BTreeMap<PathBuf, (FileStamp, u64)>,
}

impl Files {
    pub(super) fn new(roots: Vec<PathBuf>) -> Files {
        Files { roots, known: BTreeMap::new() }
    }

    /// Reads the files that have changed since the last call, and returns the hashes of all
    /// files.
    pub(super) fn read(&mut self) -> Contents {
        let mut found = BTreeMap::new();
        for root in &self.roots {
            self.read_below(root, &mut Vec::new(), &mut found);
        }
        let contents = found.iter().map(|(path, (_, content))| (path.clone(), *content)).collect();
        self.known = found;
        contents
    }

    /// Blocks until the contents differ from `before` and are the same in two consecutive
    /// polls, since a program may still be writing several files.
    pub(super) fn wait_for_change(&mut self, before: &Contents) {
        let mut last = None;
        loop {
            let started = Instant::now();
            let now = self.read();
            if now != *before && last.as_ref() == Some(&now) {
                return;
            }
            last = Some(now);
            // The pause is ten times the duration of a poll, so a large folder is polled less often.
            sleep(INTERVAL.max(started.elapsed() * 10));
        }
    }

    /// Reads a file, or all files below a folder, and adds them to `found`. Ignores files
    /// that cannot be read. `parents` identifies the enclosing folders by device and inode.
    fn read_below(
        &self,
        path: &Path,
        parents: &mut Vec<(u64, u64)>,
        found: &mut BTreeMap<PathBuf, (FileStamp, u64)>,
    ) {
        let Ok(metadata) = fs::metadata(path) else { return };
        if metadata.is_file() {
            found.extend(self.content(path, &metadata).map(|content| (path.to_owned(), content)));
            return;
        }
        let folder = (metadata.dev(), metadata.ino());
        // Following a link to an enclosing folder would not terminate.
        if !metadata.is_dir() || parents.len() >= MAX_DEPTH || parents.contains(&folder) {
            return;
        }
        let Ok(entries) = fs::read_dir(path) else { return };
        parents.push(folder);
        for entry in entries.flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with('.') && !IGNORED.contains(&&*name) {
                self.read_below(&entry.path(), parents, found);
            }
        }
        parents.pop();
    }

    fn content(&self, path: &Path, metadata: &Metadata) -> Option<(FileStamp, u64)> {
        let stamp = FileStamp::new(metadata);
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
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_saved_new_or_deleted_file_is_a_change_unless_it_belongs_to_a_build_tool() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        for folder in ["src", "target", "node_modules", ".git"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            write(&format!("{folder}/file"), "a");
        }
        let mut files = Files::new(vec![dir.path().to_owned()]);
        let first = files.read();
        assert_eq!(first.len(), 1);

        write("target/file", "longer");
        assert_eq!(files.read(), first);
        write("src/file", "longer");
        let second = files.read();
        assert_ne!(second, first);
        write("new", "a");
        assert_ne!(files.read(), second);
        fs::remove_file(dir.path().join("new")).unwrap();
        assert_eq!(files.read(), second);
    }

    #[test]
    fn rewriting_a_file_with_the_same_contents_is_not_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made");
        fs::write(&path, "a").unwrap();
        let mut files = Files::new(vec![path.clone()]);
        let before = files.read();

        fs::write(&path, "a").unwrap();
        let later = SystemTime::now() + Duration::from_secs(9);
        fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        assert_eq!(files.read(), before);
        fs::write(&path, "b").unwrap();
        assert_ne!(files.read(), before);
    }

    #[test]
    fn a_change_behind_a_link_to_a_file_or_folder_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        let (plugin, elsewhere) = (dir.path().join("plugin"), dir.path().join("elsewhere"));
        fs::create_dir(&plugin).unwrap();
        fs::create_dir_all(elsewhere.join("cases")).unwrap();
        fs::write(elsewhere.join("plugin.wat"), "a").unwrap();
        symlink(elsewhere.join("plugin.wat"), plugin.join("plugin.wat")).unwrap();
        symlink(elsewhere.join("cases"), plugin.join("cases")).unwrap();
        let mut files = Files::new(vec![plugin]);
        let first = files.read();

        fs::write(elsewhere.join("plugin.wat"), "b").unwrap();
        let second = files.read();
        assert_ne!(second, first);
        fs::write(elsewhere.join("cases/new.json"), "{}").unwrap();
        assert_ne!(files.read(), second);
    }

    #[test]
    fn a_change_that_keeps_length_and_modification_time_is_detected() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("plugin.wat"), dir.path().join(".other"));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let write = |path: &Path, text: &str| {
            fs::write(path, text).unwrap();
            fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
        };
        write(&path, "a");
        let mut files = Files::new(vec![dir.path().to_owned()]);
        let first = files.read();

        // A new inode is detected regardless of the resolution of the file system's clock.
        write(&other, "b");
        fs::rename(&other, &path).unwrap();
        let second = files.read();
        assert_ne!(second, first);

        // A write in place is detected once the clock of the file system has advanced.
        let started = Instant::now();
        loop {
            write(&path, "c");
            if files.read() != second {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "no change within a minute");
            std::thread::yield_now();
        }
    }

    #[test]
    fn cyclic_links_and_folders_past_the_depth_limit_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        symlink(dir.path(), dir.path().join("circle")).unwrap();
        let mut folder = dir.path().to_owned();
        // The root is the first folder.
        for _ in 1..MAX_DEPTH {
            folder.push("deeper");
        }
        fs::create_dir_all(folder.join("too-deep")).unwrap();
        fs::write(folder.join("last"), "a").unwrap();
        fs::write(folder.join("too-deep/file"), "a").unwrap();

        let read = Files::new(vec![dir.path().to_owned()]).read();
        assert_eq!(read.into_keys().collect::<Vec<_>>(), [folder.join("last")]);
    }
}
