//! Manifests that refer to an image, such as its signatures.
//!
//! A registry lists them, or a tag stands in for the list.

use crate::artifact::annotation;
use crate::media_type::{ANY_BUNDLE, BUNDLE, EMPTY};
use crate::signature::{
    self, Bundle, MAX_BUNDLE_BYTES, MAX_BUNDLES, PublicKey, Refusal, SIGNATURE, Verified,
};
use crate::{Descriptor, Digest, Document, Image, Manifest, Reference, Source, SourceError};

/// The bundles of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundles {
    /// The bundles.
    pub found: Vec<Bundle>,
    /// The referrers that were skipped, each with the reason.
    pub skipped: Vec<(Digest, String)>,
}

impl Bundles {
    /// Returns the first valid signature of `digest` by one of `keys`. A refusal names the
    /// skipped referrers as well.
    pub fn verify(&self, digest: &Digest, keys: &[PublicKey]) -> Result<Verified, Refusal> {
        let verified = signature::verify(&self.found, digest, keys);
        verified.map_err(|refusal| refusal.with_unreadable(&self.skipped))
    }
}

/// Fetches the signature bundles of an image. A referrer that is malformed, is too large or
/// refers to other content is skipped, so that it does not hide a valid signature.
///
/// # Errors
///
/// Returns an error if the list of referrers cannot be fetched, or a source fails for a reason
/// that may pass.
pub async fn bundles<S: Source>(
    source: &S,
    image: &Reference,
    digest: &Digest,
) -> Result<Bundles, SourceError> {
    let referrers = source.referrers(image, digest).await?;
    let is_bundle = |entry: &&Descriptor| {
        entry.artifact_type.as_deref().is_none_or(|kind| kind.starts_with(ANY_BUNDLE))
    };
    let mut bundles = Bundles::default();
    for entry in referrers.iter().filter(is_bundle).take(MAX_BUNDLES) {
        match bundle(source, image, digest, entry).await {
            Ok(Ok(Some(bundle))) => bundles.found.push(bundle),
            Ok(Ok(None)) => {}
            Ok(Err(reason)) => bundles.skipped.push((entry.digest, reason)),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => bundles.skipped.push((entry.digest, error.to_string())),
        }
    }
    Ok(bundles)
}

/// Fetches the bundle of a referrer. Returns `None` if it is not a bundle, and a reason if it
/// must not count.
async fn bundle<S: Source>(
    source: &S,
    image: &Reference,
    subject: &Digest,
    entry: &Descriptor,
) -> Result<Result<Option<Bundle>, String>, SourceError> {
    if entry.size > MAX_BUNDLE_BYTES as u64 {
        return Ok(Err(format!("its manifest has {} bytes", entry.size)));
    }
    let received = source.document(&image.with_digest(entry.digest)).await?;
    let manifest = match received.parse() {
        Ok(Document::Manifest(manifest)) => manifest,
        Ok(Document::Index(_)) => return Ok(Ok(None)),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let [layer] = &manifest.layers[..] else { return Ok(Ok(None)) };
    if !layer.media_type.starts_with(ANY_BUNDLE) {
        return Ok(Ok(None));
    }
    match &manifest.subject {
        Some(found) if found.digest == *subject => {}
        Some(found) => return Ok(Err(format!("it refers to {}", found.digest))),
        None => return Ok(Err("it has no subject".to_owned())),
    }
    let json = source.blob(image, layer, MAX_BUNDLE_BYTES).await?;
    Ok(Ok(Some(Bundle { digest: layer.digest, json })))
}

/// Returns the manifest that attaches a bundle to an image: its referrer. Its configuration is
/// the blob `{}`, its layer the bundle. `created` is the time of the signature (RFC 3339).
#[must_use]
pub fn referrer(image: &Image, bundle: &Bundle, created: Option<&str>) -> Manifest {
    let layer = Descriptor::of(BUNDLE, &bundle.json);
    let mut manifest = Manifest::new(Descriptor::of(EMPTY, b"{}"), vec![layer]);
    manifest.artifact_type = Some(BUNDLE.to_owned());
    manifest.subject = Some(Descriptor {
        media_type: image.pinned_media_type.clone(),
        digest: image.pinned,
        size: image.pinned_size,
        annotations: Default::default(),
        artifact_type: None,
        platform: None,
    });
    let mut annotate = |name: &str, value: &str| {
        manifest.annotations.insert(name.to_owned(), value.to_owned());
    };
    annotate("dev.sigstore.bundle.content", "dsse-envelope");
    annotate("dev.sigstore.bundle.predicateType", SIGNATURE);
    if let Some(created) = created {
        annotate(annotation::CREATED, created);
    }
    manifest
}

/// Returns the tag of the index that stands in for the list of a registry without one
/// (distribution specification, "Referrers Tag Schema").
#[must_use]
pub fn fallback_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.hex())
}
