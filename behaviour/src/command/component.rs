//! The component that a command works on: a file, or one built from a folder.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use behaviour::{BuildOptions, build};

use super::error::{CommandError, FailureKind, build_failed};
use super::progress::BuildProgress;

/// Returns the file, or the component that is built from a plugin's folder.
pub(super) fn component(path: &Path) -> Result<Cow<'_, Path>, CommandError> {
    match path.is_dir() {
        true => Ok(Cow::Owned(build_component(path)?)),
        false => Ok(Cow::Borrowed(path)),
    }
}

/// Builds a plugin and shows the progress on standard error.
pub(super) fn build_component(dir: &Path) -> Result<PathBuf, CommandError> {
    let progress = BuildProgress::new();
    let show = |line: &str| progress.show(line);
    let options = BuildOptions { progress: &show, ..BuildOptions::default() };
    // Without a component there is nothing to load.
    let failed = |error| build_failed(error).with_kind(FailureKind::NotLoaded);
    Ok(build(dir, &options).map_err(failed)?.path)
}
