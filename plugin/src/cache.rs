//! Where compiled components are kept, so that a second start compiles nothing.
//!
//! It is wasmtime's own cache: keyed by the component's bytes, the version of
//! wasmtime and the settings of the compiler, cleaned up by itself. What lies
//! there is machine code that is run as it stands, so the directory must be
//! writable by the host's user only.

use crate::EngineError;
use std::env;
use std::path::{Path, PathBuf};
use wasmtime::{Cache, CacheConfig};

/// Opens the cache in this directory, or in the user's. No cache where the
/// user has no directory, as under a service manager that sets no `HOME`.
pub(crate) fn open(directory: Option<&Path>) -> Result<Option<Cache>, EngineError> {
    let user_directory;
    let directory = match directory {
        Some(directory) => directory,
        None => match directory_of_user() {
            Some(directory) => {
                user_directory = directory;
                &user_directory
            }
            None => {
                tracing::warn!("no cache directory: every start compiles all plugins anew");
                return Ok(None);
            }
        },
    };
    let refused = |reason: String| EngineError::Cache { path: directory.to_owned(), reason };
    std::fs::create_dir_all(directory).map_err(|error| refused(error.to_string()))?;
    // wasmtime wants it absolute.
    let absolute = directory.canonicalize().map_err(|error| refused(error.to_string()))?;
    let mut config = CacheConfig::new();
    config.with_directory(absolute);
    let cache = Cache::new(config).map_err(|error| refused(crate::error::one_line(&error)))?;
    Ok(Some(cache))
}

/// As the XDG base directory specification has it.
fn directory_of_user() -> Option<PathBuf> {
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("behaviour").join("compiled"))
}
