//! Disk space of the cache: the files in use stay, and the others go by their age.
//!
//! A file is in use while a program holds a lock on it, this process or another one with
//! the same cache.

use super::EXTENSION;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// End of the name of a file that is being written.
pub(super) const UNFINISHED: &str = "tmp";

/// Age of a file that its writer has left unfinished.
const LEFT: Duration = Duration::from_secs(3600);

/// Keeps a file in the cache until the last clone is dropped.
#[derive(Clone)]
pub(crate) struct InUse(#[allow(dead_code, reason = "its lock counts")] Arc<File>);

impl InUse {
    /// Takes an open file into use.
    pub(super) fn new(file: File) -> InUse {
        // Without locks, on some network file systems, a file in use can go. That costs a
        // compilation: what is mapped stays.
        let _ = file.try_lock_shared();
        InUse(Arc::new(file))
    }
}

/// Removes files that are not in use, the oldest first, until those left have no more
/// bytes than this.
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

/// Removes files that are not in use, the oldest first, until this many are left of them.
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

/// Returns the compiled components, the oldest first. Removes what a writer has left
/// unfinished. Other files are not the cache's.
fn files(directory: &Path) -> io::Result<Vec<CacheFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // Another program may have removed it.
        let Ok(about) = entry.metadata() else { continue };
        let modified = about.modified()?;
        let ends_in = |end: &str| path.to_str().is_some_and(|path| path.ends_with(end));
        if about.is_file() && ends_in(EXTENSION) {
            files.push(CacheFile { modified, bytes: about.len(), path });
        } else if about.is_file()
            && ends_in(&format!(".{UNFINISHED}"))
            && modified.elapsed().is_ok_and(|age| age > LEFT)
        {
            let _ = fs::remove_file(&path);
        }
    }
    files.sort();
    Ok(files)
}

fn is_in_use(path: &Path) -> io::Result<bool> {
    Ok(lock(path)?.is_some_and(|locked| locked.is_none()))
}

/// Removes a file unless it is in use. Returns `true` if it is gone.
fn remove_unused(path: &Path) -> io::Result<bool> {
    match lock(path)? {
        None => Ok(true),
        Some(None) => Ok(false),
        // Removed under the lock, so that no program takes it into use meanwhile.
        Some(Some(_locked)) => fs::remove_file(path).map(|()| true),
    }
}

/// Locks a file that is not in use. Returns `None` if it is gone, and `Some(None)` if it
/// is in use.
fn lock(path: &Path) -> io::Result<Option<Option<File>>> {
    let opened = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(Some(file))),
        Err(TryLockError::WouldBlock) => Ok(Some(None)),
        // No locks here: no program can say that it uses the file.
        Err(TryLockError::Error(_)) => Ok(Some(Some(file))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a file that was used so many hours ago.
    fn file(directory: &Path, name: &str, bytes: usize, hours: u64) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, vec![0; bytes]).unwrap();
        let used = SystemTime::now() - Duration::from_secs(3600 * hours);
        File::options().append(true).open(&path).unwrap().set_modified(used).unwrap();
        path
    }

    #[test]
    fn files_in_use_and_some_of_the_newest_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let old = file(at, "a.compiled", 10, 9);
        let gone = file(at, "b.compiled", 10, 8);
        let kept = file(at, "c.compiled", 10, 7);
        let newest = file(at, "d.compiled", 10, 6);
        let foreign = file(at, "notes.txt", 10, 99);
        let left = file(at, "e.1.tmp", 10, 5);
        let being_written = file(at, "f.1.tmp", 10, 0);
        let in_use = InUse::new(File::open(&old).unwrap());
        let clone = in_use.clone();
        drop(in_use);

        assert_eq!(limit_unused(at, 2).unwrap(), 1);

        assert!(old.exists() && !gone.exists() && kept.exists() && newest.exists());
        assert!(foreign.exists() && !left.exists() && being_written.exists());

        drop(clone);
        assert_eq!(limit_unused(at, 1).unwrap(), 2);
        assert!(!old.exists() && !kept.exists() && newest.exists());
    }

    #[test]
    fn past_its_bytes_the_cache_drops_the_oldest_file_that_is_not_in_use() {
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
