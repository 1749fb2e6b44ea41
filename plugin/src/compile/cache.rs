//! Where compiled components are kept, so that a second start compiles nothing.
//!
//! One file a component, named by the digest of its bytes and by all that decides
//! what is made of them, mapped into memory as it stands: loading takes as long for
//! a large component as for a small one. What lies there is machine code that is run
//! unseen, so the directory must be writable by the host's user only.

use super::headroom;
use crate::error::one_line;
use crate::{EngineError, Limits};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Permissions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;
use std::{env, fmt};
use wasmtime::component::Component;

/// All files together; beyond it those that were used longest ago go.
const MOST_BYTES: u64 = 1024 * 1024 * 1024;

/// SHA-256 of a component's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a component is compiled from.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) digest: Digest,
    /// The most that its memories may have, on which their headroom depends.
    memory_bytes: usize,
}

impl Source {
    pub(crate) fn of(bytes: &[u8], limits: &Limits) -> Source {
        Source { digest: Digest::of(bytes), memory_bytes: limits.memory_bytes }
    }
}

pub(crate) struct Cache {
    directory: PathBuf,
    hits: AtomicUsize,
}

impl Cache {
    /// Opens the cache in this directory, or in the user's. No cache where the
    /// user has no directory, as under a service manager that sets no `HOME`.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Option<Cache>, EngineError> {
        let Some(directory) = directory.map(Path::to_owned).or_else(directory_of_user) else {
            tracing::warn!("no cache directory: every start compiles all plugins anew");
            return Ok(None);
        };
        match make(&directory) {
            Ok(()) => Ok(Some(Cache { directory, hits: AtomicUsize::new(0) })),
            Err(error) => Err(EngineError::Cache { path: directory, reason: error.to_string() }),
        }
    }

    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::Relaxed)
    }

    /// What was compiled before by this very compiler.
    pub(crate) fn get(&self, engine: &wasmtime::Engine, source: &Source) -> Option<Component> {
        let path = self.path(engine, source);
        if !path.exists() {
            return None;
        }
        match map(engine, &path) {
            Ok(component) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                // Only the order in which files go depends on it.
                let used = File::options().append(true).open(&path);
                let _ = used.and_then(|file| file.set_modified(SystemTime::now()));
                Some(component)
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), "compiled anew: {}", one_line(&error));
                None
            }
        }
    }

    /// Keeps what was compiled, whole or not at all, makes room for it, and gives
    /// it from where it lies.
    pub(crate) fn put(
        &self,
        engine: &wasmtime::Engine,
        source: &Source,
        code: &[u8],
    ) -> wasmtime::Result<Component> {
        let path = self.path(engine, source);
        let unfinished = path.with_extension(format!("{}.tmp", process::id()));
        let written = File::create(&unfinished)
            .and_then(|mut file| file.write_all(code).and_then(|()| file.sync_all()))
            .and_then(|()| fs::rename(&unfinished, &path));
        if written.is_err() {
            // It may not be there.
            let _ = fs::remove_file(&unfinished);
        }
        written?;
        self.make_room(&path)?;
        map(engine, &path)
    }

    /// What was there before, mapped once more.
    pub(crate) fn again(
        &self,
        engine: &wasmtime::Engine,
        source: &Source,
    ) -> wasmtime::Result<Component> {
        map(engine, &self.path(engine, source))
    }

    fn make_room(&self, kept: &Path) -> io::Result<()> {
        let mut files = BTreeSet::new();
        let mut bytes = 0;
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let about = entry.metadata()?;
            bytes += about.len();
            files.insert((about.modified()?, about.len(), entry.path()));
        }
        for (_, len, path) in files {
            if bytes <= MOST_BYTES {
                break;
            }
            if path != kept && path.is_file() {
                fs::remove_file(&path)?;
                bytes -= len;
            }
        }
        Ok(())
    }

    fn path(&self, engine: &wasmtime::Engine, source: &Source) -> PathBuf {
        let Source { digest, memory_bytes } = source;
        let mut settings = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut settings);
        (headroom::VERSION, memory_bytes).hash(&mut settings);
        self.directory.join(format!("{digest}-{:016x}.compiled", settings.finish()))
    }
}

/// Machine code from a file, as it stands.
fn map(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    #[allow(unsafe_code, reason = "there is no other way to load compiled code")]
    // SAFETY: the file was written whole by this program, into a directory that
    // only its user may write, and files there are replaced, never changed.
    unsafe {
        Component::deserialize_file(engine, path)
    }
}

/// A directory that is there, and that not everyone may write to.
fn make(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    let permissions = fs::metadata(directory)?.permissions();
    if may_be_written_by_all(&permissions) {
        return Err(io::Error::other("everyone may write there, and so run code as this user"));
    }
    Ok(())
}

#[cfg(unix)]
fn may_be_written_by_all(permissions: &Permissions) -> bool {
    std::os::unix::fs::PermissionsExt::mode(permissions) & 0o002 != 0
}

#[cfg(not(unix))]
fn may_be_written_by_all(_permissions: &Permissions) -> bool {
    false
}

/// As the XDG base directory specification has it.
fn directory_of_user() -> Option<PathBuf> {
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("behaviour").join("compiled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_written_as_everyone_writes_it() {
        let text = Digest::of(b"abc").to_string();
        assert!(text.starts_with("ba7816bf8f01cfea"), "{text}");
        assert_eq!(text.len(), 64);
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_everyone_may_write_to_is_no_cache() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();

        let error = Cache::open(Some(directory.path())).err().unwrap().to_string();
        assert!(error.contains("everyone may write there"), "{error}");
    }
}
