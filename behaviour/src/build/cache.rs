//! A folder that is made once and then kept, whole or not at all.
//!
//! Two builds at once may want it: one makes it, the others wait. A maker that
//! was stopped half-way leaves a folder of another name, which the next discards.

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::files::{entries, file_name, remove_folder};
use super::{BuildError, Progress};

/// Returns the default directory of the cache.
pub(crate) fn default_dir() -> Option<PathBuf> {
    let set = |key| env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("BEHAVIOUR_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|caches| caches.join("behaviour")))
        .or_else(|| set("HOME").map(|home| home.join(".cache").join("behaviour")))
}

/// Gives the folder `name` in `dir`, which `make` fills if it is not there yet.
/// `make` is given the folder under another name, so it must not write its path
/// into anything.
pub(crate) fn folder(
    dir: &Path,
    name: &str,
    progress: Progress<'_>,
    make: impl FnOnce(&Path) -> Result<(), BuildError>,
) -> Result<PathBuf, BuildError> {
    let whole = dir.join(name);
    if whole.is_dir() {
        return Ok(whole);
    }
    fs::create_dir_all(dir).map_err(BuildError::io(dir))?;
    let _lock = lock(&dir.join(format!("{name}.lock")), progress)?;
    if whole.is_dir() {
        return Ok(whole);
    }

    // What others left is theirs to the last: a command that a killed build had
    // started may go on for a while. So the name is ours alone, and what cannot
    // be discarded yet is not in the way.
    for left in entries(dir) {
        let left_name = file_name(&left);
        if left_name.starts_with(&format!("{name}.")) && left_name.ends_with(".partial") {
            let _ = remove_folder(&left);
        }
    }
    let partial = dir.join(format!("{name}.{}.partial", std::process::id()));
    remove_folder(&partial)?;
    fs::create_dir(&partial).map_err(BuildError::io(&partial))?;
    if let Err(error) = make(&partial) {
        // It may be a gigabyte. If it cannot go now, the next attempt tries again.
        let _ = remove_folder(&partial);
        return Err(error);
    }
    fs::rename(&partial, &whole).map_err(BuildError::io(&whole))?;
    Ok(whole)
}

/// Held until the file is closed, which the system does for a process that dies.
fn lock(path: &Path, progress: Progress<'_>) -> Result<File, BuildError> {
    let file = File::create(path).map_err(BuildError::io(path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            progress("waiting for another build to fetch the same");
        }
        Err(TryLockError::Error(source)) => return Err(BuildError::io(path)(source)),
    }
    file.lock().map_err(BuildError::io(path))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn of_many_that_want_a_folder_at_once_one_makes_it_and_all_get_it_whole() {
        let dir = tempfile::tempdir().unwrap();
        let made = AtomicU32::new(0);
        let start = Barrier::new(8);
        thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    start.wait();
                    let folder = folder(dir.path(), "kept", &|_| {}, |partial| {
                        made.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        fs::write(partial.join("file"), "whole").map_err(BuildError::io(partial))
                    });
                    let file = folder.unwrap().join("file");
                    assert_eq!(fs::read_to_string(file).unwrap(), "whole");
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_was_left_half_done_is_not_taken_for_whole() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("kept.4711.partial");
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join("old"), "half").unwrap();

        let folder = folder(dir.path(), "kept", &|_| {}, |_| Ok(())).unwrap();

        assert!(!folder.join("old").exists());
        assert!(!partial.exists());
    }

    #[test]
    fn a_failure_leaves_nothing_and_the_next_attempt_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let fail = |_: &Path| Err(BuildError::NoCompiler { why: "no network".into() });
        folder(dir.path(), "kept", &|_| {}, fail).unwrap_err();
        assert_eq!(entries(dir.path()), [dir.path().join("kept.lock")]);
        folder(dir.path(), "kept", &|_| {}, |_| Ok(())).unwrap();
    }
}
