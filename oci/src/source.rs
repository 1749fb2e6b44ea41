//! Places from which images are read: a registry or a directory.

use std::future::Future;
use std::path::Path;

use crate::{Descriptor, Digest, Document, Manifest, ManifestError, Reference, media_type};

mod error;

pub use error::SourceError;
pub(crate) use error::WITHOUT_TLS;

/// A callback for the number of bytes of a blob that have arrived.
pub type OnProgress<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// A place from which images are read. Every function checks size and digest of the content
/// before it returns.
pub trait Source: Send + Sync {
    /// Returns a manifest or index, selected by the digest of the reference if it has one,
    /// else by its tag.
    fn document(
        &self,
        image: &Reference,
    ) -> impl Future<Output = Result<Received, SourceError>> + Send;

    /// Returns a blob of at most `max_bytes`.
    fn blob(
        &self,
        image: &Reference,
        blob: &Descriptor,
        max_bytes: usize,
    ) -> impl Future<Output = Result<Vec<u8>, SourceError>> + Send;

    /// Writes a blob to a file and syncs it. A file from an earlier, incomplete attempt is
    /// continued. After an error, and if the future is dropped, the file keeps the bytes
    /// that have arrived, unless its content is wrong.
    fn blob_to_file(
        &self,
        image: &Reference,
        blob: &Descriptor,
        file: &Path,
        progress: OnProgress<'_>,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Returns the descriptors of the manifests that refer to `subject`, in no order. The list
    /// is not verified.
    fn referrers(
        &self,
        image: &Reference,
        subject: &Digest,
    ) -> impl Future<Output = Result<Vec<Descriptor>, SourceError>> + Send;
}

/// A manifest or index as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The digest of the bytes.
    pub digest: Digest,
    /// The media type that the source states.
    pub media_type: Option<String>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Received {
    /// Parses the document.
    pub fn parse(&self) -> Result<Document, ManifestError> {
        Document::parse(&self.bytes, self.media_type.as_deref())
    }
}

/// An image whose manifest is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The digest that the reference selects, of a manifest or an index. A signature covers
    /// this digest.
    pub pinned: Digest,
    /// The digest of the manifest; differs from `pinned` if that is an index.
    pub digest: Digest,
    /// The manifest.
    pub manifest: Manifest,
    /// The length of the pinned document, in bytes.
    pub pinned_size: u64,
    /// The media type of the pinned document.
    pub pinned_media_type: String,
}

/// Fetches the manifest of an image. For an index, fetches the manifest of its entry for
/// WebAssembly.
pub async fn resolve<S: Source>(source: &S, image: &Reference) -> Result<Image, SourceError> {
    let received = source.document(image).await?;
    let wrong = |problem| SourceError::Manifest { subject: image.to_string(), problem };
    let pinned_size = received.bytes.len() as u64;
    let pinned = received.digest;
    let as_image = |digest, manifest: Manifest, default: &str| {
        let pinned_media_type = received.media_type.as_deref().map(media_type::essence);
        let pinned_media_type = pinned_media_type.unwrap_or_else(|| default.to_owned());
        Image { pinned, digest, manifest, pinned_size, pinned_media_type }
    };
    let index = match received.parse().map_err(wrong)? {
        Document::Manifest(manifest) => {
            return Ok(as_image(pinned, *manifest, media_type::MANIFEST));
        }
        Document::Index(index) => index,
    };
    let entry = index.component().map_err(wrong)?;
    let image = image.with_digest(entry.digest);
    let received = source.document(&image).await?;
    let wrong = |problem| SourceError::Manifest { subject: image.to_string(), problem };
    match Document::parse(&received.bytes, Some(&entry.media_type)).map_err(wrong)? {
        Document::Manifest(manifest) => Ok(as_image(received.digest, *manifest, media_type::INDEX)),
        Document::Index(_) => Err(wrong(ManifestError::Nested)),
    }
}
