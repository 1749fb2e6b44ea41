//! Cache of compiled components on disk.
//!
//! Each component has one file. Its name consists of the digest of the component, a hash of
//! everything that affects compilation, and the digest of the code. The file is
//! memory-mapped, so a large component loads nearly as fast as a small one.
//!
//! Cached code runs with the host's privileges. Therefore the directory and every file must
//! belong to the host's user and must not be writable by others, and the code is verified
//! against its digest before it is mapped.

#[cfg(feature = "compiler")]
use super::{fusion, headroom};
use crate::error::one_line;
use crate::{EngineError, Limits};
use sha2::{Digest as _, Sha256};
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

pub(crate) use space::InUse;

mod space;

/// Extension of the files in the cache.
const EXTENSION: &str = ".compiled";

/// Maximum size of all files together. Beyond it, the least recently used files are
/// deleted, except those in use.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// SHA-256 digest of a component's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes and settings that a component is compiled from.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    pub(crate) digest: Digest,
    /// Memory limit of the plugin, which determines the headroom.
    memory_bytes: usize,
}

impl Source {
    #[cfg(any(feature = "compiler", test))]
    pub(crate) fn of(bytes: &[u8], limits: &Limits) -> Source {
        Source::new(Digest::of(bytes), limits)
    }

    pub(crate) fn new(digest: Digest, limits: &Limits) -> Source {
        Source { digest, memory_bytes: limits.memory_bytes }
    }
}

/// Cache in one directory, shared by all processes that use the directory.
pub(crate) struct Cache {
    directory: PathBuf,
    hits: AtomicUsize,
}

impl Cache {
    /// Opens the cache in `directory`, or in the user's cache directory. Returns `None` if
    /// the user has no such directory, for example under a service manager that does not
    /// set `HOME`.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Option<Cache>, EngineError> {
        let Some(directory) = directory.map(Path::to_owned).or_else(user_cache_directory) else {
            tracing::warn!("no cache directory; all plugins are compiled at every start");
            return Ok(None);
        };
        match create_directory(&directory) {
            Ok(()) => Ok(Some(Cache { directory, hits: AtomicUsize::new(0) })),
            Err(error) => Err(EngineError::Cache { path: directory, reason: error.to_string() }),
        }
    }

    /// Returns the number of components that were found in the cache.
    pub(crate) fn hits(&self) -> usize {
        self.hits.load(Ordering::Relaxed)
    }

    /// Returns the cached component, or `None` if it has to be compiled. Deletes a corrupt
    /// file.
    pub(crate) fn get(
        &self,
        engine: &wasmtime::Engine,
        source: &Source,
    ) -> Option<(Component, InUse)> {
        let path = self.find(engine, source)?;
        let found = verify_and_map(engine, &path)?;
        self.hits.fetch_add(1, Ordering::Relaxed);
        // A failure affects only the order of eviction.
        let used = File::options().append(true).open(&path);
        let _ = used.and_then(|file| file.set_modified(SystemTime::now()));
        Some(found)
    }

    /// Writes the code to a file atomically, evicts old files if necessary, and returns the
    /// component mapped from the new file.
    pub(crate) fn put(
        &self,
        engine: &wasmtime::Engine,
        source: &Source,
        code: &[u8],
    ) -> wasmtime::Result<(Component, InUse)> {
        let name = format!("{}{}{EXTENSION}", self.prefix(engine, source), Digest::of(code));
        let path = self.directory.join(name);
        let unfinished = path.with_extension(unfinished_extension());
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let write = |mut file: File| {
            file.write_all(code)?;
            file.sync_all()?;
            // Locked before it is renamed, so that no process evicts the new file.
            let in_use = InUse::new(file);
            fs::rename(&unfinished, &path).map(|()| in_use)
        };
        let written = options.open(&unfinished).and_then(write);
        if written.is_err() {
            // Fails if the file was not created.
            let _ = fs::remove_file(&unfinished);
        }
        let in_use = written?;
        space::limit_bytes(&self.directory, MAX_BYTES)?;
        Ok((map(engine, &path)?, in_use))
    }

    /// Evicts all files except those in use and the `max_unused` most recently used others.
    /// Returns the number of evicted files.
    pub(crate) fn limit_unused(&self, max_unused: usize) -> io::Result<usize> {
        space::limit_unused(&self.directory, max_unused)
    }

    /// Maps the cached code again. Returns `None` if the file is missing or was rejected, since
    /// it may have changed after it was first mapped.
    pub(crate) fn map_again(
        &self,
        engine: &wasmtime::Engine,
        source: &Source,
    ) -> Option<Component> {
        let path = self.find(engine, source)?;
        verify_and_map(engine, &path).map(|(component, _)| component)
    }

    /// Returns the file of a source. Searches for it by prefix, because the rest of the name is
    /// the digest of the code.
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
        // Without the compiler, the source is the code itself.
        #[cfg(feature = "compiler")]
        {
            engine.precompile_compatibility_hash().hash(&mut settings);
            (fusion::VERSION, headroom::VERSION).hash(&mut settings);
        }
        #[cfg(not(feature = "compiler"))]
        let _ = engine;
        memory_bytes.hash(&mut settings);
        format!("{digest}-{:016x}-", settings.finish())
    }
}

/// Verifies and maps a file. Deletes a rejected file and returns `None`.
fn verify_and_map(engine: &wasmtime::Engine, path: &Path) -> Option<(Component, InUse)> {
    let mapped = verify(path)
        .map_err(wasmtime::Error::from)
        .and_then(|in_use| Ok((map(engine, path)?, in_use)));
    mapped
        .inspect_err(|error| {
            tracing::warn!(file = %path.display(), "cached code rejected: {}", one_line(error));
            // If the file cannot be deleted, the next start rejects it again.
            let _ = fs::remove_file(path);
        })
        .ok()
}

/// Checks that a file belongs to this user and has not changed since it was written, and
/// marks it as in use.
///
/// Corrupt code would crash the process at every start.
fn verify(path: &Path) -> io::Result<InUse> {
    let mut file = File::options().read(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    check_owner(&file.metadata()?)?;
    let in_use = InUse::new(file.try_clone()?);
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
        true => Ok(in_use),
        false => Err(io::Error::other("corrupt: the digest does not match the file name")),
    }
}

/// Checks that only this process's user and root can write to a file or directory.
fn check_owner(metadata: &Metadata) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != user && metadata.uid() != 0 {
        return Err(io::Error::other(format!(
            "belongs to user {}, who could run code as user {user}",
            metadata.uid()
        )));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!(
            "others can write to it (mode {:03o}) and run code as this user",
            metadata.mode() & 0o777
        )));
    }
    Ok(())
}

/// Maps machine code from a file.
fn map(engine: &wasmtime::Engine, path: &Path) -> wasmtime::Result<Component> {
    #[allow(unsafe_code, reason = "there is no other way to load compiled code")]
    // SAFETY: this program wrote the file completely, into a directory that only its
    // user can write to. Files in it are replaced, never modified.
    unsafe {
        Component::deserialize_file(engine, path)
    }
}

/// Creates the directory with access for its owner only, or checks an existing one.
fn create_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    check_owner(&fs::metadata(directory)?)
}

/// Returns the user's cache directory according to the XDG base directory specification.
fn user_cache_directory() -> Option<PathBuf> {
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
    Some(base.join("behaviour").join("compiled"))
}

/// Returns an extension that no other thread and no other process uses at the same time. Hosts of
/// one process, such as those of a simulation, may compile the same component at the same time.
/// With one name for both, one would truncate the file that the other has mapped.
fn unfinished_extension() -> String {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    format!("{}.{number}.{}", process::id(), space::UNFINISHED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_digest_is_displayed_in_hexadecimal() {
        let text = Digest::of(b"abc").to_string();
        assert!(text.starts_with("ba7816bf8f01cfea"), "{text}");
        assert_eq!(text.len(), 64);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_rejected() {
        for mode in [0o777, 0o770, 0o702] {
            let directory = tempfile::tempdir().unwrap();
            fs::set_permissions(directory.path(), Permissions::from_mode(mode)).unwrap();

            let error = Cache::open(Some(directory.path())).err().unwrap().to_string();
            assert!(error.contains("others can write to it"), "{error}");
        }
    }

    fn compile(engine: &wasmtime::Engine, text: &str) -> Vec<u8> {
        engine.precompile_component(&wat::parse_str(text).unwrap()).unwrap()
    }

    /// Returns a cache with one compiled component, and the path of its file.
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
    fn hosts_of_one_process_can_cache_the_same_component_at_the_same_time() {
        let folder = tempfile::tempdir().unwrap();
        let engine = wasmtime::Engine::default();
        let source = Source::of(b"(component)", &Limits::default());
        let code = compile(&engine, "(component)");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let cache = Cache::open(Some(folder.path())).unwrap().unwrap();
                    for _ in 0..20 {
                        cache.put(&engine, &source, &code).unwrap();
                    }
                });
            }
        });
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 1, "nothing unfinished is left");
    }

    #[test]
    fn a_file_is_reused_only_if_it_is_unchanged() {
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
    fn a_file_that_has_changed_since_it_was_mapped_is_not_mapped_again() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, engine, source, path) = cached(folder.path());
        assert!(cache.map_again(&engine, &source).is_some());

        let mut code = fs::read(&path).unwrap();
        let last = code.len() - 1;
        code[last] ^= 1;
        // The old file stays mapped, as when a backup is restored over the directory.
        fs::remove_file(&path).unwrap();
        fs::write(&path, code).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(cache.map_again(&engine, &source).is_none());
        assert!(!path.exists());
    }

    #[test]
    fn a_file_with_the_code_of_another_component_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, engine, source, path) = cached(folder.path());
        let other = compile(&engine, "(component (core module))");
        fs::write(&path, other).unwrap();
        assert!(cache.get(&engine, &source).is_none());
    }

    #[test]
    fn a_file_that_others_can_write_to_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let (cache, engine, source, path) = cached(folder.path());
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        assert!(cache.get(&engine, &source).is_none());
    }
}
