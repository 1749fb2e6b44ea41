//! Operations on the files that a build reads and writes.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::BuildError;

/// Returns the sorted paths in a folder, or an empty list if it cannot be read.
pub(crate) fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Returns the name of a file or folder as a string.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the path of a program on the `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Copies the files of a folder and of its subfolders, except hidden ones and those with
/// one of the `skipped` names. Follows links to files, but not to folders.
pub(crate) fn copy_folder(from: &Path, to: &Path, skipped: &[&str]) -> Result<(), BuildError> {
    fs::create_dir_all(to).map_err(BuildError::io(to))?;
    for path in entries(from) {
        let name = file_name(&path);
        if name.starts_with('.') || skipped.contains(&&*name) {
            continue;
        }
        let copy = to.join(&name);
        if path.is_file() {
            fs::copy(&path, &copy).map_err(BuildError::io(&path))?;
        } else if path.is_dir() && !path.is_symlink() {
            copy_folder(&path, &copy, skipped)?;
        }
    }
    Ok(())
}

/// Removes a folder and its contents, if it exists.
pub(crate) fn remove_folder(folder: &Path) -> Result<(), BuildError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BuildError::io(folder)(error)),
        _ => Ok(()),
    }
}

/// Writes an executable script.
pub(crate) fn write_script(path: &Path, text: &str) -> Result<(), BuildError> {
    fs::write(path, text)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o755)))
        .map_err(BuildError::io(path))
}

/// Writes a file atomically, since a host may be reading it or another build may be
/// writing it.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(BuildError::io(folder))?;
    }
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_extension(format!("{}-{count}.partial", std::process::id()));
    fs::write(&partial, bytes).map_err(BuildError::io(&partial))?;
    fs::rename(&partial, path).map_err(BuildError::io(path))
}
