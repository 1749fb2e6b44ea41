//! Limits on the disk space of the cache. Files in use are kept, and others are removed by age.
//!
//! A file is in use while any process that shares the cache holds a lock on it.

use super::EXTENSION;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Extension of a file that is being written.
pub(super) const UNFINISHED: &str = "tmp";

/// Age at which an unfinished file counts as abandoned.
const ABANDONED_AFTER: Duration = Duration::from_secs(3600);

/// Keeps a file in the cache until the last clone is dropped.
#[derive(Clone)]
pub(crate) struct InUse(#[allow(dead_code, reason = "holds the lock")] Arc<File>);

impl InUse {
    /// Marks an open file as in use.
    pub(super) fn new(file: File) -> InUse {
        // Some network file systems have no locks. A file in use can then be removed, which
        // costs a compilation at the next start; code that is mapped stays valid.
        let _ = file.try_lock_shared();
        InUse(Arc::new(file))
    }
}

/// Removes files that are not in use, the oldest first, until all files together have at most
/// `max_bytes`.
pub(super) fn limit_bytes(directory: &Path, max_bytes: u64) -> io::Result<()> {
    let files = files(directory)?;
    let mut bytes: u64 = files.iter().map(|file| file.bytes).sum();
    for file in files {
        if bytes <= max_bytes {
            break;
        }
        if remove_unused(&file.path)? {
            bytes -= file.bytes;
        }
    }
    Ok(())
}

/// Removes files that are not in use, the oldest first, until `max_unused` of them remain.
/// Returns the number of removed files.
pub(super) fn limit_unused(directory: &Path, max_unused: usize) -> io::Result<usize> {
    let (mut unused, mut removed) = (0, 0);
    for file in files(directory)?.into_iter().rev() {
        if is_in_use(&file.path)? {
            continue;
        }
        unused += 1;
        if unused > max_unused && remove_unused(&file.path)? {
            removed += 1;
        }
    }
    Ok(removed)
}

/// A compiled component on disk.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct CacheFile {
    modified: SystemTime,
    bytes: u64,
    path: PathBuf,
}

/// Returns the compiled components, the oldest first. Removes abandoned files, and ignores
/// files that do not belong to the cache.
fn files(directory: &Path) -> io::Result<Vec<CacheFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // Another process may have removed it.
        let Ok(metadata) = entry.metadata() else { continue };
        let modified = metadata.modified()?;
        let ends_in = |end: &str| path.to_str().is_some_and(|path| path.ends_with(end));
        if metadata.is_file() && ends_in(EXTENSION) {
            files.push(CacheFile { modified, bytes: metadata.len(), path });
        } else if metadata.is_file()
            && ends_in(&format!(".{UNFINISHED}"))
            && modified.elapsed().is_ok_and(|age| age > ABANDONED_AFTER)
        {
            let _ = fs::remove_file(&path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_in_use(path: &Path) -> io::Result<bool> {
    Ok(matches!(lock(path)?, LockOutcome::InUse))
}

/// Removes a file unless it is in use. Returns `true` if the file no longer exists.
fn remove_unused(path: &Path) -> io::Result<bool> {
    match lock(path)? {
        LockOutcome::Missing => Ok(true),
        LockOutcome::InUse => Ok(false),
        // Removed under the lock, so that no process marks it as in use meanwhile.
        LockOutcome::Locked(_file) => fs::remove_file(path).map(|()| true),
    }
}

/// Outcome of an attempt to lock a file.
enum LockOutcome {
    Missing,
    InUse,
    /// The file, which is locked until this value is dropped.
    Locked(File),
}

/// Locks a file that is not in use.
fn lock(path: &Path) -> io::Result<LockOutcome> {
    let opened = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(LockOutcome::Missing),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => Ok(LockOutcome::Locked(file)),
        Err(TryLockError::WouldBlock) => Ok(LockOutcome::InUse),
        // Without locks, no process can mark the file as in use.
        Err(TryLockError::Error(_)) => Ok(LockOutcome::Locked(file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a file that was last used `hours` hours ago.
    fn file(directory: &Path, name: &str, bytes: usize, hours: u64) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, vec![0; bytes]).unwrap();
        let used = SystemTime::now() - Duration::from_secs(3600 * hours);
        File::options().append(true).open(&path).unwrap().set_modified(used).unwrap();
        path
    }

    #[test]
    fn files_in_use_and_the_newest_unused_files_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let old = file(at, "a.compiled", 10, 9);
        let gone = file(at, "b.compiled", 10, 8);
        let kept = file(at, "c.compiled", 10, 7);
        let newest = file(at, "d.compiled", 10, 6);
        let foreign = file(at, "notes.txt", 10, 99);
        let abandoned = file(at, "e.1.tmp", 10, 5);
        let being_written = file(at, "f.1.tmp", 10, 0);
        let in_use = InUse::new(File::open(&old).unwrap());
        let clone = in_use.clone();
        drop(in_use);

        assert_eq!(limit_unused(at, 2).unwrap(), 1);

        assert!(old.exists() && !gone.exists() && kept.exists() && newest.exists());
        assert!(foreign.exists() && !abandoned.exists() && being_written.exists());

        drop(clone);
        assert_eq!(limit_unused(at, 1).unwrap(), 2);
        assert!(!old.exists() && !kept.exists() && newest.exists());
    }

    #[test]
    fn above_its_size_limit_the_cache_removes_the_oldest_unused_file() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let old = file(at, "a.compiled", 10, 9);
        let gone = file(at, "b.compiled", 10, 8);
        let kept = file(at, "c.compiled", 10, 7);
        let foreign = file(at, "large.bin", 1_000, 99);
        let _in_use = InUse::new(File::open(&old).unwrap());

        limit_bytes(at, 20).unwrap();

        assert!(old.exists() && !gone.exists() && kept.exists() && foreign.exists());
    }
}
