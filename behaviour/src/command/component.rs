//! The component that a command uses: an existing file, or one built from a plugin's folder.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use behaviour::{BuildOptions, build};

use super::error::{CommandError, FailureKind, build_failed};
use super::progress::BuildProgress;

/// Returns `path` if it is a file. If it is a folder, builds the plugin in it and returns
/// the path of the component.
pub(super) fn component(path: &Path) -> Result<Cow<'_, Path>, CommandError> {
    match path.is_dir() {
        true => Ok(Cow::Owned(build_component(path)?)),
        false => Ok(Cow::Borrowed(path)),
    }
}

/// Builds a plugin, shows the progress on standard error, and returns the component's path.
pub(super) fn build_component(dir: &Path) -> Result<PathBuf, CommandError> {
    let progress = BuildProgress::new();
    let show = |line: &str| progress.show(line);
    let options = BuildOptions { progress: &show, ..BuildOptions::default() };
    // `call` and `test` document the same exit code for a failed build and a failed load.
    let failed = |error| build_failed(error).with_kind(FailureKind::NotLoaded);
    Ok(build(dir, &options).map_err(failed)?.path)
}
