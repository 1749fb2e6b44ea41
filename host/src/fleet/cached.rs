//! Manifests and signatures in the content store, in front of the place from which they come.
//!
//! A version that is wanted again, with other settings or after a return, needs no registry.

use std::collections::BTreeSet;
use std::path::Path;

use oci::{Descriptor, Digest, OnProgress, Received, Reference, Source, SourceError};
use tokio::task::spawn_blocking;
use tracing::debug;

use crate::content::{CachedContent, ContentStore};

/// Cache of manifests and signatures.
pub(super) struct Cache {
    store: ContentStore,
}

impl Cache {
    pub(super) fn new(store: ContentStore) -> Cache {
        Cache { store }
    }

    /// Returns content from the store. The caller verifies a signature; a manifest has its
    /// digest.
    pub(super) async fn read(&self, kind: CachedContent, digest: Digest) -> Option<Vec<u8>> {
        let store = self.store.clone();
        spawn_blocking(move || store.cached(kind, &digest)).await.ok().flatten()
    }

    /// Adds content to the store. Without room, it is fetched again next time.
    pub(super) async fn keep(
        &self,
        kind: CachedContent,
        digest: Digest,
        bytes: &[u8],
        needed: &BTreeSet<Digest>,
    ) {
        let (store, bytes, needed) = (self.store.clone(), bytes.to_owned(), needed.clone());
        let kept = spawn_blocking(move || store.cache(kind, &digest, &bytes, &needed)).await;
        if let Ok(Err(error)) = kept {
            debug!(%digest, "not kept in the content store: {}", program::chain(&error));
        }
    }

    /// Returns a source that reads the manifests of another one from the store, and keeps them
    /// there.
    pub(super) fn over<'a, S>(
        &'a self,
        source: &'a S,
        needed: &'a BTreeSet<Digest>,
    ) -> CachedSource<'a, S> {
        CachedSource { cache: self, source, needed }
    }
}

/// Source whose manifests are in the content store.
pub(super) struct CachedSource<'a, S> {
    cache: &'a Cache,
    source: &'a S,
    /// Content that must stay in the store.
    needed: &'a BTreeSet<Digest>,
}

impl<S: Source> Source for CachedSource<'_, S> {
    async fn document(&self, image: &Reference) -> Result<Received, SourceError> {
        if let Some(digest) = image.digest()
            && let Some(bytes) = self.cache.read(CachedContent::Manifest, digest).await
        {
            return Ok(Received { digest, media_type: None, bytes });
        }
        let received = self.source.document(image).await?;
        let Received { digest, bytes, .. } = &received;
        self.cache.keep(CachedContent::Manifest, *digest, bytes, self.needed).await;
        Ok(received)
    }

    async fn blob(
        &self,
        image: &Reference,
        blob: &Descriptor,
        max_bytes: usize,
    ) -> Result<Vec<u8>, SourceError> {
        self.source.blob(image, blob, max_bytes).await
    }

    async fn blob_to_file(
        &self,
        image: &Reference,
        blob: &Descriptor,
        file: &Path,
        progress: OnProgress<'_>,
    ) -> Result<(), SourceError> {
        self.source.blob_to_file(image, blob, file, progress).await
    }

    async fn referrers(
        &self,
        image: &Reference,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, SourceError> {
        self.source.referrers(image, subject).await
    }
}
