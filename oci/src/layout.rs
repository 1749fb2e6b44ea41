//! Directories with images: the layout of the image specification, for devices without a
//! network.
//!
//! `skopeo copy`, `oras copy --to-oci-layout` and `behaviour fetch --to` write such a
//! directory. Blobs are found by their digest, so the name in a reference does not matter
//! unless it has only a tag. Symbolic links are followed, since the directory is chosen by
//! the operator; no path is taken from its content.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;

use crate::partial::Partial;
use crate::referrers::fallback_tag;
use crate::source::{OnProgress, Received, Source, SourceError};
use crate::{Descriptor, Digest, Document, Index, MAX_MANIFEST_BYTES, Reference, strict};

mod write;

/// Name of the annotation with the tag or the complete reference of an entry.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Version of the layout that is read and written.
const VERSION: &str = "1.0.0";

/// Maximum number of entries that are examined for referrers.
const MAX_EXAMINED: usize = 256;

/// Length of the pieces in which a blob is copied.
const PIECE: usize = 64 * 1024;

/// A directory with images.
#[derive(Debug, Clone)]
pub struct Layout {
    dir: PathBuf,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Marker {
    image_layout_version: String,
}

impl Layout {
    /// Opens a directory, and checks that it is a layout.
    pub async fn open(dir: &Path) -> Result<Layout, SourceError> {
        let layout = Layout { dir: dir.to_owned() };
        let marker =
            layout.read(&dir.join("oci-layout"), 4096).await.map_err(|error| match error {
                SourceError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                    layout.wrong("is not an image layout: it has no file `oci-layout`")
                }
                error => error,
            })?;
        let marker: Marker = strict::object(&marker, 4096)
            .map_err(|problem| layout.wrong(format!("has a file `oci-layout` that {problem}")))?;
        match marker.image_layout_version.as_str() {
            VERSION => Ok(layout),
            version => {
                let version = json::excerpt(version, 40);
                Err(layout
                    .wrong(format!("has the layout version `{version}` instead of {VERSION}")))
            }
        }
    }

    fn wrong(&self, problem: impl Into<String>) -> SourceError {
        SourceError::Layout { path: self.dir.clone(), problem: problem.into() }
    }

    fn place(&self) -> String {
        self.dir.display().to_string()
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    async fn index(&self) -> Result<Index, SourceError> {
        let bytes = self.read(&self.dir.join("index.json"), MAX_MANIFEST_BYTES).await?;
        match Document::parse(&bytes, None) {
            Ok(Document::Index(index)) => Ok(index),
            Ok(Document::Manifest(_)) => Err(self.wrong("has an `index.json` that is no index")),
            Err(error) => Err(self.wrong(format!("has an `index.json` that {error}"))),
        }
    }

    /// Reads a file of at most `max` bytes.
    async fn read(&self, path: &Path, max: usize) -> Result<Vec<u8>, SourceError> {
        let failed = |source| SourceError::File { path: path.to_owned(), source };
        let file = open(path).await.map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(max as u64 + 1).read_to_end(&mut bytes).await.map_err(failed)?;
        match bytes.len() > max {
            true => Err(SourceError::TooLarge {
                subject: path.display().to_string(),
                size: bytes.len() as u64,
                max: max as u64,
            }),
            false => Ok(bytes),
        }
    }

    /// Reads a blob and checks its digest.
    async fn read_blob(&self, digest: &Digest, max: usize) -> Result<Vec<u8>, SourceError> {
        let bytes = self.read(&self.blob_path(digest), max).await;
        let bytes = bytes.map_err(|error| self.not_found(digest, error))?;
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(SourceError::WrongDigest {
                subject: digest.to_string(),
                found: found.to_string(),
            }),
        }
    }

    fn not_found(&self, digest: &Digest, error: SourceError) -> SourceError {
        match error {
            SourceError::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                SourceError::NotFound { subject: digest.to_string(), place: self.place() }
            }
            error => error,
        }
    }

    /// Returns the entry with the tag of a reference. A complete name counts more than a tag.
    async fn tagged(&self, image: &Reference, tag: &str) -> Result<Descriptor, SourceError> {
        let index = self.index().await?;
        let full = format!("{}:{tag}", image.name());
        let named = |name: &str| {
            let has_name = |entry: &&Descriptor| {
                entry.annotations.get(REF_NAME).is_some_and(|found| found == name)
            };
            index.manifests.iter().find(has_name)
        };
        named(&full).or_else(|| named(tag)).cloned().ok_or_else(|| SourceError::NotFound {
            subject: image.to_string(),
            place: self.place(),
        })
    }

    /// Returns the entry of a manifest if it refers to `subject`.
    async fn referring(
        &self,
        entry: &Descriptor,
        subject: &Digest,
    ) -> Result<Option<Descriptor>, SourceError> {
        let bytes = match self.read_blob(&entry.digest, MAX_MANIFEST_BYTES).await {
            Ok(bytes) => bytes,
            // Other images of the directory may be incomplete.
            Err(SourceError::NotFound { .. } | SourceError::WrongDigest { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(Document::Manifest(manifest)) = Document::parse(&bytes, Some(&entry.media_type))
        else {
            return Ok(None);
        };
        let refers = manifest.subject.is_some_and(|found| found.digest == *subject);
        let artifact_type = manifest.artifact_type.or(Some(manifest.config.media_type));
        Ok(refers.then(|| Descriptor { artifact_type, ..entry.clone() }))
    }
}

impl Source for Layout {
    async fn document(&self, image: &Reference) -> Result<Received, SourceError> {
        let (digest, media_type) = match (image.digest(), image.tag()) {
            (Some(digest), _) => (digest, None),
            (None, Some(tag)) => {
                let entry = self.tagged(image, tag).await?;
                (entry.digest, Some(entry.media_type))
            }
            (None, None) => return Err(SourceError::NoSelector(image.name())),
        };
        let bytes = self.read_blob(&digest, MAX_MANIFEST_BYTES).await?;
        Ok(Received { digest, media_type, bytes })
    }

    async fn blob(
        &self,
        _: &Reference,
        blob: &Descriptor,
        max_bytes: usize,
    ) -> Result<Vec<u8>, SourceError> {
        let subject = blob.digest.to_string();
        if blob.size > max_bytes as u64 {
            let max = max_bytes as u64;
            return Err(SourceError::TooLarge { subject, size: blob.size, max });
        }
        let bytes = self.read_blob(&blob.digest, max_bytes).await?;
        match bytes.len() as u64 {
            found if found == blob.size => Ok(bytes),
            found => Err(SourceError::WrongSize { subject, expected: blob.size, found }),
        }
    }

    async fn blob_to_file(
        &self,
        _: &Reference,
        blob: &Descriptor,
        file: &Path,
        progress: OnProgress<'_>,
    ) -> Result<(), SourceError> {
        let path = self.blob_path(&blob.digest);
        let failed =
            |source| self.not_found(&blob.digest, SourceError::File { path: path.clone(), source });
        let mut source = open(&path).await.map_err(failed)?;
        let metadata = source.metadata().await.map_err(failed)?;
        if metadata.len() != blob.size {
            return Err(SourceError::WrongSize {
                subject: blob.digest.to_string(),
                expected: blob.size,
                found: metadata.len(),
            });
        }
        let mut partial = Partial::open(file, blob).await?;
        // A copy from a disk is short, so it always begins at the start.
        partial.clear().await?;
        let mut piece = vec![0; PIECE];
        while partial.length() < blob.size {
            match source.read(&mut piece).await.map_err(failed)? {
                0 => break,
                count => partial.append(&piece[..count]).await?,
            }
            progress(partial.length());
        }
        if let Err(error) = partial.check() {
            partial.clear().await?;
            return Err(error);
        }
        partial.finish().await
    }

    async fn referrers(
        &self,
        image: &Reference,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, SourceError> {
        let mut found = Vec::new();
        let tag = fallback_tag(subject);
        match self.tagged(image, &tag).await {
            Ok(entry) => {
                let bytes = self.read_blob(&entry.digest, MAX_MANIFEST_BYTES).await?;
                if let Ok(Document::Index(index)) = Document::parse(&bytes, None) {
                    found.extend(index.manifests);
                }
            }
            Err(SourceError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        // Other tools list the referrers beside the images.
        for entry in self.index().await?.manifests.iter().take(MAX_EXAMINED) {
            if found.iter().all(|known| known.digest != entry.digest) {
                found.extend(self.referring(entry, subject).await?);
            }
        }
        Ok(found)
    }
}

/// Opens a regular file. A pipe or a device could be read without an end.
async fn open(path: &Path) -> io::Result<tokio::fs::File> {
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || program::open(&path)).await;
    opened.map_err(io::Error::other)?.map(tokio::fs::File::from_std)
}

#[cfg(test)]
mod tests;
