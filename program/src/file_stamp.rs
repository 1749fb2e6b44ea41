//! Detection of changed files by their metadata.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// File metadata that changes with every modification: identity, size and times.
///
/// Size and modification time are not sufficient, because a program can set the
/// modification time. Only the kernel sets the time of the last status change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    status_changed: (i64, i64),
}

impl FileStamp {
    /// Returns the stamp of the file with this metadata.
    #[must_use]
    pub fn new(metadata: &Metadata) -> FileStamp {
        FileStamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            status_changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Returns the stamp of the file at `path`, following symbolic links, or `None` if its
    /// metadata cannot be read. Blocks.
    #[must_use]
    pub fn at(path: &Path) -> Option<FileStamp> {
        fs::metadata(path).ok().as_ref().map(FileStamp::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_preserves_length_and_time_is_detected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "one").unwrap();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        let before = FileStamp::at(&path);
        assert_eq!(FileStamp::at(&path), before);

        let other = folder.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        fs::rename(&other, &path).unwrap();
        assert_ne!(FileStamp::at(&path), before);
        assert_eq!(FileStamp::at(&other), None);
    }
}
