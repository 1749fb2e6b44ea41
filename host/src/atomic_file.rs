//! Atomic replacement of small files.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

#[cfg(test)]
pub(crate) mod disk_log;

/// Extension of incomplete files.
pub(crate) const UNFINISHED: &str = "new";

/// Replaces a file atomically, so that a crash leaves either the old or the new content. Only
/// the owner can read it. Creates its directory. Blocks.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory(path))?;
    let temporary = path.with_extension(UNFINISHED);
    let replaced = write(&temporary, bytes).and_then(|()| put_in_place(&temporary, path));
    if replaced.is_err() {
        // Opening may have failed, so the file may not exist.
        let _ = fs::remove_file(&temporary);
    }
    replaced
}

/// Renames a file with synced content, and waits until its name is on disk too. Blocks.
pub(crate) fn put_in_place(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    #[cfg(test)]
    disk_log::renamed(from, to);
    sync(directory(to))
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = File::options();
    options.create(true).truncate(true).write(true).mode(0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    #[cfg(test)]
    disk_log::written(path, bytes);
    drop(file);
    sync(path)
}

/// Waits until a file or directory is on disk.
fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    #[cfg(test)]
    disk_log::synced(path);
    Ok(())
}

fn directory(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}
