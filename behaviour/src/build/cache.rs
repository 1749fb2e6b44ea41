//! Cache folders, each of which is either complete or missing.
//!
//! If several builds need a folder at once, one fills it and the others wait. An
//! interrupted build leaves a folder with a temporary name, which the next build removes.

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

/// Returns the folder `name` in `dir`, after `fill` has filled it if it was missing.
/// `fill` receives a temporary path, which it must not write into files.
pub(crate) fn folder(
    dir: &Path,
    name: &str,
    progress: Progress<'_>,
    fill: impl FnOnce(&Path) -> Result<(), BuildError>,
) -> Result<PathBuf, BuildError> {
    let complete = dir.join(name);
    if complete.is_dir() {
        return Ok(complete);
    }
    fs::create_dir_all(dir).map_err(BuildError::io(dir))?;
    let _lock = lock(&dir.join(format!("{name}.lock")), progress)?;
    if complete.is_dir() {
        return Ok(complete);
    }

    // A command of a killed build may still be writing to its folder. Each process
    // therefore uses a different name, and a folder that cannot be removed yet is ignored.
    for left in entries(dir) {
        let left_name = file_name(&left);
        if left_name.starts_with(&format!("{name}.")) && left_name.ends_with(".partial") {
            let _ = remove_folder(&left);
        }
    }
    let partial = dir.join(format!("{name}.{}.partial", std::process::id()));
    remove_folder(&partial)?;
    fs::create_dir(&partial).map_err(BuildError::io(&partial))?;
    if let Err(error) = fill(&partial) {
        // The folder may contain a gigabyte. If this fails, the next build removes it.
        let _ = remove_folder(&partial);
        return Err(error);
    }
    fs::rename(&partial, &complete).map_err(BuildError::io(&complete))?;
    Ok(complete)
}

/// Locks a file until the returned handle is dropped or the process ends.
fn lock(path: &Path, progress: Progress<'_>) -> Result<File, BuildError> {
    let file = File::create(path).map_err(BuildError::io(path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            progress("waiting for another build to finish the same download");
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
    fn concurrent_builds_fill_a_folder_once_and_all_find_it_complete() {
        let dir = tempfile::tempdir().unwrap();
        let fills = AtomicU32::new(0);
        let start = Barrier::new(8);
        thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    start.wait();
                    let folder = folder(dir.path(), "kept", &|_| {}, |partial| {
                        fills.fetch_add(1, Ordering::SeqCst);
                        thread::yield_now();
                        fs::write(partial.join("file"), "complete").map_err(BuildError::io(partial))
                    });
                    let file = folder.unwrap().join("file");
                    assert_eq!(fs::read_to_string(file).unwrap(), "complete");
                });
            }
        });
        assert_eq!(fills.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn an_incomplete_folder_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let partial = dir.path().join("kept.4711.partial");
        fs::create_dir(&partial).unwrap();
        fs::write(partial.join("old"), "half").unwrap();

        let folder = folder(dir.path(), "kept", &|_| {}, |_| Ok(())).unwrap();

        assert!(!folder.join("old").exists());
        assert!(!partial.exists());
    }

    #[test]
    fn a_failed_attempt_leaves_no_folder_and_the_next_one_starts_again() {
        let dir = tempfile::tempdir().unwrap();
        let fail = |_: &Path| Err(BuildError::NoCompiler { reason: "no network".into() });
        folder(dir.path(), "kept", &|_| {}, fail).unwrap_err();
        assert_eq!(entries(dir.path()), [dir.path().join("kept.lock")]);
        folder(dir.path(), "kept", &|_| {}, |_| Ok(())).unwrap();
    }
}
