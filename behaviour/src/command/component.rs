//! The file of a component: as it was named, or built from the folder that was.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use behaviour::{BuildError, BuildOptions, build};

use super::progress::BuildProgress;

/// The file itself, or the component of a plugin's folder.
pub(crate) fn component(named: &Path) -> Result<Cow<'_, Path>, BuildError> {
    match named.is_dir() {
        true => Ok(Cow::Owned(built(named)?)),
        false => Ok(Cow::Borrowed(named)),
    }
}

/// Builds a plugin, and says how that goes on standard error.
pub(crate) fn built(dir: &Path) -> Result<PathBuf, BuildError> {
    let told = BuildProgress::new();
    let progress = |line: &str| told.line(line);
    Ok(build(dir, &BuildOptions { progress: &progress, ..BuildOptions::default() })?.path)
}
