//! Cache of compiled components, so that a second start compiles nothing.
//!
//! One file a component, named by the digest of its bytes, by all that decides how
//! it is compiled, and by the digest of the code. It is mapped into memory unchanged:
//! a large component loads nearly as fast as a small one.
//!
//! The code runs with the rights of the host. So the directory and each file must
//! belong to the host's user, others must not be able to write to them, and the code
//! is checked against its digest before it is mapped.

use super::headroom;
use crate::error::one_line;
use crate::{EngineError, Limits};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;
use std::{env, fmt};
use wasmtime::component::Component;

/// End of the name of a file in the cache.
const EXTENSION: &str = ".compiled";

/// Limit of all files together; beyond it those that were used longest ago go.
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

/// The bytes and settings that a component is compiled from.
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

    /// Returns the component that this compiler has compiled before. A file that is
    /// not as it was written is removed, and the component compiled anew.
    pub(crate) fn get(&self, engine: &wasmtime::Engine, source: &Source) -> Option<Component> {
        let path = self.find(engine, source)?;
        let mapped = verify(&path).map_err(wasmtime::Error::from).and_then(|()| map(engine, &path));
        match mapped {
            Ok(component) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                // Only the order in which files go depends on it.
                let used = File::options().append(true).open(&path);
                let _ = used.and_then(|file| file.set_modified(SystemTime::now()));
                Some(component)
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), "compiled anew: {}", one_line(&error));
                // If it stays, the next start finds it out again.
                let _ = fs::remove_file(&path);
                None
            }
        }
    }

    /// Writes the code to a file, whole or not at all, makes room for it, and returns
    /// the component mapped from there.
    pub(crate) fn put(
        &self,
        engine: &wasmtime::Engine,
        source: &Source,
        code: &[u8],
    ) -> wasmtime::Result<Component> {
        let name = format!("{}{}{EXTENSION}", self.prefix(engine, source), Digest::of(code));
        let path = self.directory.join(name);
        let unfinished = path.with_extension(format!("{}.tmp", process::id()));
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options
            .open(&unfinished)
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

    /// Maps the code that was compiled before once more.
    pub(crate) fn again(
        &self,
        engine: &wasmtime::Engine,
        source: &Source,
    ) -> wasmtime::Result<Component> {
        let path = self.find(engine, source).ok_or(io::Error::from(io::ErrorKind::NotFound))?;
        map(engine, &path)
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

    /// Returns the file of a source, whose name goes on with the digest of the code.
    fn find(&self, engine: &wasmtime::Engine, source: &Source) -> Option<PathBuf> {
        let prefix = self.prefix(engine, source);
        let names = fs::read_dir(&self.directory).ok()?.filter_map(|entry| entry.ok());
        let is_of_source = |name: &str| name.starts_with(&prefix) && name.ends_with(EXTENSION);
        let mut found = names.filter(|entry| entry.file_name().to_str().is_some_and(is_of_source));
        found.next().map(|entry| entry.path())
    }

    fn prefix(&self, engine: &wasmtime::Engine, source: &Source) -> String {
        let Source { digest, memory_bytes } = source;
        let mut settings = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut settings);
        (headroom::VERSION, memory_bytes).hash(&mut settings);
        format!("{digest}-{:016x}-", settings.finish())
    }
}

/// Checks that a file is this user's own, and holds the code that was written to it.
///
/// Damaged code would end the process by a signal, at every start.
fn verify(path: &Path) -> io::Result<()> {
    let mut file = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    check_owner(&file.metadata()?)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    let found = Digest(hash.finalize().into()).to_string();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match name.strip_suffix(EXTENSION).is_some_and(|name| name.ends_with(&found)) {
        true => Ok(()),
        false => Err(io::Error::other("damaged: its digest is not the one in its name")),
    }
}

/// Checks that only this process's user and root may write a file or directory.
fn check_owner(about: &Metadata) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    if about.uid() != user && about.uid() != 0 {
        return Err(io::Error::other(format!(
            "belongs to user {}, who could so run code as user {user}",
            about.uid()
        )));
    }
    if about.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!(
            "others may write to it (mode {:03o}), and so run code as this user",
            about.mode() & 0o777
        )));
    }
    Ok(())
}

/// Maps machine code from a file.
fn map(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    #[allow(unsafe_code, reason = "there is no other way to load compiled code")]
    // SAFETY: the file was written whole by this program, into a directory that
    // only its user may write, and files there are replaced, never changed.
    unsafe {
        Component::deserialize_file(engine, path)
    }
}

/// Creates the directory for its owner alone, or checks one that exists.
fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    check_owner(&fs::metadata(directory)?)
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
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_digest_is_written_as_everyone_writes_it() {
        let text = Digest::of(b"abc").to_string();
        assert!(text.starts_with("ba7816bf8f01cfea"), "{text}");
        assert_eq!(text.len(), 64);
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_no_cache() {
        for mode in [0o777, 0o770, 0o702] {
            let directory = tempfile::tempdir().unwrap();
            fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();

            let error = Cache::open(Some(directory.path())).err().unwrap().to_string();
            assert!(error.contains("others may write to it"), "{error}");
        }
    }

    fn compile(engine: &wasmtime::Engine, text: &str) -> Vec<u8> {
        engine.precompile_component(&wat::parse_str(text).unwrap()).unwrap()
    }

    /// A cache with one compiled component, and the path of its file.
    fn cached(folder: &Path) -> (Cache, wasmtime::Engine, Source, PathBuf) {
        let cache = Cache::open(Some(folder)).unwrap().unwrap();
        let engine = wasmtime::Engine::default();
        let source = Source::of(b"(component)", &Limits::default());
        let code = compile(&engine, "(component)");
        cache.put(&engine, &source, &code).unwrap();
        let path = cache.find(&engine, &source).unwrap();
        (cache, engine, source, path)
    }

    #[test]
    fn a_file_is_used_again_only_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, engine, source, path) = cached(folder.path());
        assert!(cache.get(&engine, &source).is_some());

        let mut code = fs::read(&path).unwrap();
        let middle = code.len() / 2;
        code[middle] ^= 1;
        fs::write(&path, code).unwrap();
        assert!(cache.get(&engine, &source).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_another_component_is_not_taken_for_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, engine, source, path) = cached(folder.path());
        let other = compile(&engine, "(component (core module))");
        fs::write(&path, other).unwrap();
        assert!(cache.get(&engine, &source).is_none());
    }

    #[test]
    fn a_file_that_others_may_write_to_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, engine, source, path) = cached(folder.path());
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(cache.get(&engine, &source).is_none());
    }
}
