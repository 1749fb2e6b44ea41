//! Store of fetched components, manifests and signatures, addressed by digests.
//!
//! The directory `content` in the data directory contains a file for each of them. A file
//! appears under its name only when it is complete: it is written beside it, hashed, synced and
//! renamed, and the directory is synced. So after a loss of power, a file is whole or missing. It
//! is hashed again whenever it is read, because disks forget and administrators make mistakes.
//!
//! `fleet` decides which digests are needed. The other files are removed, the oldest first, when
//! the store needs room. Activations of several plugins use the store at the same time.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use oci::Digest;
use tracing::{info, warn};

use crate::atomic_file;

/// Extension of a component that is being assembled.
const PART: &str = "part";

/// Small content, which is fetched again if it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CachedContent {
    /// Manifest or index, addressed by its digest.
    Manifest,
    /// Signature, addressed by the digest of the image. The caller verifies it.
    Signature,
}

impl CachedContent {
    fn extension(self) -> &'static str {
        match self {
            CachedContent::Manifest => "json",
            CachedContent::Signature => "signature",
        }
    }
}

/// Store of components, manifests and signatures.
#[derive(Debug, Clone)]
pub(crate) struct ContentStore {
    directory: PathBuf,
    max_bytes: u64,
    /// Held while a file is replaced, and while incomplete files of an interrupted host are
    /// removed, which look the same.
    writing: Arc<Mutex<()>>,
}

/// Error of the store.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("content store {}", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("content has the digest {found}, not {expected}")]
    Digest { found: Digest, expected: Digest },
    #[error("{bytes} bytes do not fit into the {max_bytes} bytes of `store_bytes`")]
    Full { bytes: u64, max_bytes: u64 },
}

impl ContentError {
    /// Returns `true` if the disk has no room.
    pub(crate) fn is_lack_of_room(&self) -> bool {
        match self {
            ContentError::Full { .. } => true,
            ContentError::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            ContentError::Digest { .. } => false,
        }
    }
}

impl ContentStore {
    /// Returns a handle to the store in `data`. Does not access the disk.
    pub(crate) fn in_data(data: &Path, max_bytes: u64) -> ContentStore {
        ContentStore { directory: data.join("content"), max_bytes, writing: Arc::default() }
    }

    /// Returns the path of a component's file.
    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex()).with_extension("wasm")
    }

    /// Returns `true` if the component is in the store and intact. A corrupt file is removed.
    /// Blocks.
    pub(crate) fn has(&self, digest: &Digest) -> bool {
        let path = self.path(digest);
        let found = match fs::read(&path) {
            Ok(bytes) => Digest::of(&bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return false,
            Err(error) => {
                warn!(path = %path.display(), "component not readable: {error}");
                return false;
            }
        };
        if found == *digest {
            return true;
        }
        warn!(path = %path.display(), %found, "corrupt component removed");
        // A file that cannot be removed is replaced by the next download.
        let _ = fs::remove_file(&path);
        false
    }

    /// Returns the path at which a component is assembled. A download that was interrupted
    /// continues there.
    pub(crate) fn part(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex()).with_extension(PART)
    }

    /// Makes room for a component of this size, and creates the directory. `needed` are the
    /// digests that must not be removed. Blocks.
    pub(crate) fn reserve(
        &self,
        digest: &Digest,
        bytes: u64,
        needed: &BTreeSet<Digest>,
    ) -> Result<(), ContentError> {
        let _writing = self.writing();
        self.make_room(bytes, &self.part(digest), needed)?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|source| ContentError::Io { path: self.directory.clone(), source })
    }

    /// Adds the component that was assembled at [`ContentStore::part`] and synced. Content with
    /// another digest is removed. Blocks.
    pub(crate) fn commit(&self, digest: &Digest) -> Result<(), ContentError> {
        let (part, path) = (self.part(digest), self.path(digest));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ContentError::Io { path, source }
        };
        let found = Digest::of(&fs::read(&part).map_err(failed(&part))?);
        if found != *digest {
            fs::remove_file(&part).map_err(failed(&part))?;
            return Err(ContentError::Digest { found, expected: *digest });
        }
        atomic_file::put_in_place(&part, &path).map_err(failed(&path))
    }

    /// Adds a component. Blocks.
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), ContentError> {
        let path = self.path(digest);
        let _writing = self.writing();
        atomic_file::replace(&path, bytes).map_err(|source| ContentError::Io { path, source })
    }

    /// Returns the cached content of a digest. A corrupt manifest is removed. Blocks.
    pub(crate) fn cached(&self, kind: CachedContent, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.cached_path(kind, digest);
        let bytes = fs::read(&path).ok()?;
        if kind == CachedContent::Manifest && Digest::of(&bytes) != *digest {
            warn!(path = %path.display(), "corrupt manifest removed");
            // A file that cannot be removed is replaced when the manifest has been fetched.
            let _ = fs::remove_file(&path);
            return None;
        }
        Some(bytes)
    }

    /// Caches content. `needed` are the digests whose files must not be removed. Blocks.
    pub(crate) fn cache(
        &self,
        kind: CachedContent,
        digest: &Digest,
        bytes: &[u8],
        needed: &BTreeSet<Digest>,
    ) -> Result<(), ContentError> {
        let path = self.cached_path(kind, digest);
        let _writing = self.writing();
        self.make_room(bytes.len() as u64, &path, needed)?;
        atomic_file::replace(&path, bytes).map_err(|source| ContentError::Io { path, source })
    }

    fn cached_path(&self, kind: CachedContent, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex()).with_extension(kind.extension())
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes files whose digests are not needed, the oldest first, until `bytes` more fit at
    /// `target`. Also removes incomplete files of an interrupted host.
    fn make_room(
        &self,
        bytes: u64,
        target: &Path,
        needed: &BTreeSet<Digest>,
    ) -> Result<(), ContentError> {
        let failed = |source| ContentError::Io { path: self.directory.clone(), source };
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.check(bytes),
            Err(error) => return Err(failed(error)),
        };
        let needed: BTreeSet<String> = needed.iter().map(Digest::hex).collect();
        // The part of a needed component is left over: the component is there.
        let is_needed = |path: &Path| {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            path.extension().is_none_or(|end| end != PART)
                && stem.is_some_and(|stem| needed.contains(stem))
        };
        let (mut used, mut removable) = (0, Vec::new());
        for entry in entries {
            let found = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)));
            // A download may have ended meanwhile, so its part has another name now.
            let Some((path, metadata)) = unless_gone(found).map_err(failed)? else { continue };
            if path.extension().is_some_and(|end| end == atomic_file::UNFINISHED) {
                fs::remove_file(&path).map_err(failed)?;
                continue;
            }
            // Its bytes are a part of those to make room for.
            if path == target {
                continue;
            }
            used += metadata.len();
            if !is_needed(&path) {
                let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                removable.push((written, path, metadata.len()));
            }
        }
        removable.sort();
        for (_, path, size) in removable {
            if used + bytes <= self.max_bytes {
                break;
            }
            unless_gone(fs::remove_file(&path)).map_err(failed)?;
            used -= size;
            info!(path = %path.display(), "content removed to make room");
        }
        self.check(used + bytes)
    }

    /// Checks that the store may contain `bytes` altogether.
    fn check(&self, bytes: u64) -> Result<(), ContentError> {
        match bytes <= self.max_bytes {
            true => Ok(()),
            false => Err(ContentError::Full { bytes, max_bytes: self.max_bytes }),
        }
    }
}

/// Returns `None` if the file does not exist.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(directory: &tempfile::TempDir, max_bytes: u64) -> ContentStore {
        ContentStore::in_data(directory.path(), max_bytes)
    }

    /// Adds a component as a download does.
    fn put(store: &ContentStore, bytes: &[u8], needed: &[Digest]) -> Result<Digest, ContentError> {
        let digest = Digest::of(bytes);
        store.reserve(&digest, bytes.len() as u64, &needed.iter().copied().collect())?;
        fs::write(store.part(&digest), bytes).unwrap();
        store.commit(&digest).map(|()| digest)
    }

    #[test]
    fn a_component_is_found_by_its_digest_until_its_file_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory, 100);
        let digest = put(&store, b"one", &[]).unwrap();
        assert!(store.has(&digest));
        assert!(!store.has(&Digest::of(b"two")));

        fs::write(store.path(&digest), "on").unwrap();
        assert!(!store.has(&digest));
        assert!(!store.path(&digest).exists());
    }

    #[test]
    fn content_with_another_digest_is_not_stored() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory, 100);
        let digest = Digest::of(b"one");
        store.reserve(&digest, 3, &BTreeSet::new()).unwrap();
        fs::write(store.part(&digest), "two").unwrap();
        let error = store.commit(&digest).unwrap_err();
        assert!(matches!(error, ContentError::Digest { .. }), "{error}");
        assert!(!store.path(&digest).exists() && !store.part(&digest).exists());
    }

    #[test]
    fn only_components_that_are_not_needed_make_room() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory, 8);
        let one = put(&store, b"one", &[]).unwrap();
        let two = put(&store, b"two", &[]).unwrap();
        let unfinished = store.path(&two).with_extension(atomic_file::UNFINISHED);
        fs::write(&unfinished, "tw").unwrap();

        let three = put(&store, b"three", &[one]).unwrap();
        assert!(store.has(&one) && store.has(&three) && !store.has(&two));
        assert!(!unfinished.exists());

        let error = put(&store, b"four", &[one, three]).unwrap_err();
        assert!(error.is_lack_of_room(), "{error}");
        assert!(store.has(&one) && store.has(&three));
    }

    #[test]
    fn activations_at_the_same_time_do_not_remove_files_of_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory, 1 << 20);
        std::thread::scope(|scope| {
            for plugin in 0..4 {
                let store = store.clone();
                scope.spawn(move || {
                    for version in 0..50 {
                        let text = format!("{plugin}.{version}");
                        let digest = put(&store, text.as_bytes(), &[]).unwrap();
                        let (kind, needed) = (CachedContent::Manifest, BTreeSet::new());
                        store.cache(kind, &digest, text.as_bytes(), &needed).unwrap();
                        assert!(store.has(&digest) && store.cached(kind, &digest).is_some());
                    }
                });
            }
        });
    }

    #[test]
    fn manifests_and_signatures_stay_as_long_as_their_digests_are_needed() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(&directory, 16);
        let (manifest, image) = (Digest::of(b"{\"a\":1}"), Digest::of(b"image"));
        let needed = BTreeSet::from([manifest]);
        store.cache(CachedContent::Manifest, &manifest, b"{\"a\":1}", &needed).unwrap();
        store.cache(CachedContent::Signature, &image, b"signed", &needed).unwrap();
        assert_eq!(store.cached(CachedContent::Signature, &image).unwrap(), b"signed");

        put(&store, b"component", &[manifest]).unwrap();
        assert_eq!(store.cached(CachedContent::Signature, &image), None);
        assert_eq!(store.cached(CachedContent::Manifest, &manifest).unwrap(), b"{\"a\":1}");

        fs::write(store.cached_path(CachedContent::Manifest, &manifest), "{}").unwrap();
        assert_eq!(store.cached(CachedContent::Manifest, &manifest), None);
        assert!(!store.cached_path(CachedContent::Manifest, &manifest).exists());
    }
}
