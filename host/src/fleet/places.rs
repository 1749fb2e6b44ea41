//! Places from which images are fetched: the content store, the offline directory, then the
//! registries.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use oci::layout::Layout;
use oci::referrers::{self, Bundles};
use oci::registry::{Client, ClientSettings};
use oci::signature::{Bundle, PublicKey};
use oci::{Descriptor, Digest, Image, Reference, Source as _, SourceError, resolve};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tracing::{debug, warn};

use super::cached::Cache;
use super::failure::{Consequence, Failure};
use crate::content::{CachedContent, ContentStore};

/// Maximum number of remembered items.
const MAX_REMEMBERED: usize = 256;

/// Places from which images are fetched.
pub(crate) struct Places {
    /// Directory in the image layout. It is opened for each image, because it can be on a drive
    /// that is plugged in later.
    directory: Option<PathBuf>,
    settings: ClientSettings,
    cache: Cache,
    /// Client of registries, which is created for the first image that needs it.
    client: OnceCell<Client>,
    /// Fetched manifests and signatures; `None` to fetch them each time.
    images: Option<Memory<Image>>,
    signatures: Option<Memory<Bundles>>,
}

/// Fetched items by digest. Concurrent requests for an item share one fetch.
struct Memory<T>(Mutex<HashMap<Digest, Arc<OnceCell<T>>>>);

impl<T> Default for Memory<T> {
    fn default() -> Memory<T> {
        Memory(Mutex::default())
    }
}

impl<T: Clone> Memory<T> {
    async fn get<F: Future<Output = Result<T, Failure>>>(
        &self,
        digest: Digest,
        fetch: impl FnOnce() -> F,
    ) -> Result<T, Failure> {
        let cell = {
            let mut cells = self.0.lock();
            if cells.len() >= MAX_REMEMBERED && !cells.contains_key(&digest) {
                cells.clear();
            }
            Arc::clone(cells.entry(digest).or_default())
        };
        cell.get_or_try_init(fetch).await.cloned()
    }
}

impl Places {
    pub(super) fn new(
        directory: Option<PathBuf>,
        settings: ClientSettings,
        store: ContentStore,
    ) -> Places {
        let (cache, client) = (Cache::new(store), OnceCell::new());
        Places { directory, settings, cache, client, images: None, signatures: None }
    }

    /// Remembers fetched manifests and signatures by digest, for the many devices of one process.
    pub(super) fn remember(&mut self) {
        self.images = Some(Memory::default());
        self.signatures = Some(Memory::default());
    }

    /// Returns the image that a reference names. `needed` is the content that must stay in the
    /// store.
    pub(super) async fn image(
        &self,
        reference: &Reference,
        needed: &BTreeSet<Digest>,
    ) -> Result<Image, Failure> {
        match (&self.images, reference.digest()) {
            (Some(memory), Some(digest)) => {
                memory.get(digest, || self.find_image(reference, needed)).await
            }
            _ => self.find_image(reference, needed).await,
        }
    }

    /// Returns the signatures of an image, valid or not, and those that cannot be read. One that is
    /// in the store and by one of the keys is returned alone.
    pub(super) async fn bundles(
        &self,
        reference: &Reference,
        digest: Digest,
        keys: &[PublicKey],
        needed: &BTreeSet<Digest>,
    ) -> Result<Bundles, Failure> {
        let find = || self.find_bundles(reference, digest, keys, needed);
        match &self.signatures {
            Some(memory) => memory.get(digest, find).await,
            None => find().await,
        }
    }

    async fn find_image(
        &self,
        reference: &Reference,
        needed: &BTreeSet<Digest>,
    ) -> Result<Image, Failure> {
        if let Some(layout) = self.layout().await {
            match resolve(&self.cache.over(&layout, needed), reference).await {
                Ok(image) => return Ok(image),
                Err(error) => skip(reference, &error),
            }
        }
        let client = self.client().await?;
        resolve(&self.cache.over(client, needed), reference).await.map_err(failure)
    }

    async fn find_bundles(
        &self,
        reference: &Reference,
        digest: Digest,
        keys: &[PublicKey],
        needed: &BTreeSet<Digest>,
    ) -> Result<Bundles, Failure> {
        if let Some(json) = self.cache.read(CachedContent::Signature, digest).await {
            let stored = Bundles { found: vec![Bundle::new(json)], ..Bundles::default() };
            // Another key may have been trusted when it was stored.
            if stored.verify(&digest, keys).is_ok() {
                return Ok(stored);
            }
        }
        let bundles = self.fetch_bundles(reference, &digest).await?;
        let valid = bundles.verify(&digest, keys).ok();
        let mut found = bundles.found.iter();
        let valid = valid.and_then(|valid| found.find(|it| it.digest == valid.bundle));
        if let Some(Bundle { json, .. }) = valid {
            self.cache.keep(CachedContent::Signature, digest, json, needed).await;
        }
        Ok(bundles)
    }

    async fn fetch_bundles(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Bundles, Failure> {
        let mut in_directory = Vec::new();
        if let Some(layout) = self.layout().await {
            match referrers::bundles(&layout, reference, digest).await {
                Ok(bundles) if !bundles.found.is_empty() => return Ok(bundles),
                Ok(bundles) => in_directory = bundles.skipped,
                Err(error) => skip(reference, &error),
            }
        }
        for (digest, reason) in &in_directory {
            warn!(image = %reference, %digest, "signature in the offline directory: {reason}");
        }
        let bundles = referrers::bundles(self.client().await?, reference, digest);
        let mut bundles = bundles.await.map_err(failure)?;
        bundles.skipped.append(&mut in_directory);
        Ok(bundles)
    }

    /// Writes a blob to a file, and continues there after an interruption. `progress` is called
    /// with the number of bytes so far.
    pub(super) async fn blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        file: &Path,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), Failure> {
        if let Some(layout) = self.layout().await {
            match layout.blob_to_file(reference, blob, file, progress).await {
                Ok(()) => return Ok(()),
                Err(error @ SourceError::File { .. }) if error.is_transient() => {
                    return Err(failure(error));
                }
                Err(error) => skip(reference, &error),
            }
        }
        let client = self.client().await?;
        client.blob_to_file(reference, blob, file, progress).await.map_err(failure)
    }

    /// Returns the offline directory, if it is there.
    async fn layout(&self) -> Option<Layout> {
        let directory = self.directory.as_deref()?;
        match Layout::open(directory).await {
            Ok(layout) => Some(layout),
            Err(error) => {
                debug!("offline directory not used: {}", program::chain(&error));
                None
            }
        }
    }

    async fn client(&self) -> Result<&Client, Failure> {
        let create = || async {
            let settings = self.settings.clone();
            let client = spawn_blocking(move || Client::new(settings)).await;
            let client = client.map_err(|error| Failure::retry("host-fault", error))?;
            client.map_err(|error| Failure::retry("not-trusted", program::chain(&error)))
        };
        self.client.get_or_try_init(create).await
    }
}

/// Logs the reason why content is not from the offline directory. Missing content is normal.
fn skip(reference: &Reference, error: &SourceError) {
    let reason = program::chain(error);
    match error {
        SourceError::NotFound { .. } => {
            debug!(image = %reference, "not from the offline directory: {reason}");
        }
        _ => warn!(image = %reference, "not from the offline directory: {reason}"),
    }
}

/// Converts an error of a place. Wrong content is refused; anything else can be repaired without
/// a new entry, for example by a push to the registry.
fn failure(error: SourceError) -> Failure {
    let kind = match error.of_registry() {
        SourceError::WrongDigest { .. }
        | SourceError::WrongSize { .. }
        | SourceError::TooLarge { .. }
        | SourceError::Manifest { .. } => Consequence::Refused,
        SourceError::Busy { retry_after, .. } => Consequence::Retry(*retry_after),
        _ => Consequence::Retry(None),
    };
    let message = program::chain(&error).to_string();
    Failure { kind, reason: error.code(), message }
}
