//! Manifests, indexes and descriptors (image specification).
//!
//! The parser ignores unknown fields, because other tools write them. It refuses a document
//! with two meanings: a duplicate key, the fields of a manifest and of an index, or a media
//! type other than that of the response.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::media_type::{self, DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST, WASM_LAYERS};
use crate::{Digest, strict};

/// Maximum length of a manifest or index, in bytes, as registries limit it (distribution
/// specification, "Pushing Manifests").
pub const MAX_MANIFEST_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of layers. A plugin has one, and few tools add more than some.
const MAX_LAYERS: usize = 256;

/// Maximum number of entries in an index. Every signature of an image is an entry of one.
const MAX_ENTRIES: usize = 4096;

/// Maximum size of content, the largest number that Go's tools read.
const MAX_SIZE: u64 = i64::MAX as u64;

/// Error for an unusable manifest or index. The message is a predicate that follows the
/// subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// A document that is not JSON, has duplicate keys or lacks a field.
    #[error("{0}")]
    Malformed(String),
    /// A document of another schema.
    #[error("has schemaVersion {0} instead of 2")]
    Schema(u64),
    /// A document of another kind.
    #[error("has the media type `{0}`, which is neither a manifest nor an index")]
    MediaType(String),
    /// A document whose media type differs from that of the response or descriptor.
    #[error("has the media type `{found}`, but was sent as `{sent}`")]
    Mismatch {
        /// The media type in the document.
        found: String,
        /// The media type of the response or descriptor.
        sent: String,
    },
    /// A document with the fields of both kinds.
    #[error("has both `layers` and `manifests`")]
    Ambiguous,
    /// A list that is too long.
    #[error("has {count} entries in `{field}`; at most {max} are allowed")]
    TooMany {
        /// The field.
        field: &'static str,
        /// The number of entries.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// A manifest without a layer for a component.
    #[error("has no layer of type `application/wasm`")]
    NoComponent,
    /// A manifest with more than one component.
    #[error("has {0} layers of type `application/wasm`; exactly one is allowed")]
    Components(usize),
    /// An index in which no entry, or more than one, is a component.
    #[error("is an index with {0} entries for WebAssembly; pin the digest of one manifest instead")]
    NoChoice(usize),
    /// An index that refers to another index.
    #[error("is an index inside an index")]
    Nested,
}

/// A reference to content by its type, digest and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    pub media_type: String,
    /// The digest.
    pub digest: Digest,
    /// The size in bytes.
    pub size: u64,
    /// The annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The type of the artifact, if the content is a manifest of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The platform for which the content is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    /// Returns the descriptor of `content`.
    #[must_use]
    pub fn of(media_type: &str, content: &[u8]) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(content),
            size: content.len() as u64,
            annotations: BTreeMap::new(),
            artifact_type: None,
            platform: None,
        }
    }
}

/// The platform of an entry in an index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// The processor architecture, such as `wasm`.
    pub architecture: String,
    /// The operating system, such as `wasip2`.
    #[serde(default)]
    pub os: String,
}

/// An image manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u64,
    /// The media type of the manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The type of the artifact. `wkg` writes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers.
    pub layers: Vec<Descriptor>,
    /// The manifest to which this one refers, such as the signed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// The annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// Creates a manifest without artifact type, subject and annotations.
    #[must_use]
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// Returns the only layer that contains a component.
    pub fn component(&self) -> Result<&Descriptor, ManifestError> {
        let is_component =
            |layer: &&Descriptor| WASM_LAYERS.contains(&&*media_type::essence(&layer.media_type));
        let components: Vec<&Descriptor> = self.layers.iter().filter(is_component).collect();
        match components[..] {
            [component] => Ok(component),
            [] => Err(ManifestError::NoComponent),
            _ => Err(ManifestError::Components(components.len())),
        }
    }

    /// Returns the manifest as JSON. The digest of the text identifies the image.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("every field of a manifest is valid in JSON")
    }
}

/// An image index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    schema_version: u64,
    /// The media type of the index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The entries.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
    /// The annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// Creates an index.
    #[must_use]
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: Some(INDEX.to_owned()),
            manifests,
            annotations: BTreeMap::new(),
        }
    }

    /// Returns the entry for WebAssembly: the only one for the architecture `wasm`, or else
    /// the only one whose artifact type is that of a component.
    pub fn component(&self) -> Result<&Descriptor, ManifestError> {
        let is_wasm = |entry: &&Descriptor| {
            entry.platform.as_ref().is_some_and(|platform| platform.architecture == "wasm")
        };
        let is_known = |entry: &&Descriptor| {
            entry.artifact_type.as_deref().is_some_and(|kind| kind.starts_with("application/wasm"))
                || entry.artifact_type.as_deref() == Some(media_type::WASM_CONFIG)
        };
        let mut entries: Vec<&Descriptor> = self.manifests.iter().filter(is_wasm).collect();
        if entries.is_empty() {
            entries = self.manifests.iter().filter(is_known).collect();
        }
        match entries[..] {
            [entry] => Ok(entry),
            _ => Err(ManifestError::NoChoice(entries.len())),
        }
    }

    /// Returns the index as JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("every field of an index is valid in JSON")
    }
}

/// A manifest or an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// A manifest.
    Manifest(Box<Manifest>),
    /// An index.
    Index(Index),
}

/// The fields that tell the kind of a document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: u64,
    media_type: Option<String>,
    layers: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
}

impl Document {
    /// Parses a manifest or an index. `sent_as` is the media type of the response or of the
    /// descriptor. Parameters of a media type are ignored. The caller has checked size and
    /// digest.
    pub fn parse(bytes: &[u8], sent_as: Option<&str>) -> Result<Document, ManifestError> {
        let outline: Outline = parsed(bytes)?;
        if outline.schema_version != 2 {
            return Err(ManifestError::Schema(outline.schema_version));
        }
        if outline.layers.is_some() && outline.manifests.is_some() {
            return Err(ManifestError::Ambiguous);
        }
        let found = outline.media_type.as_deref().map(media_type::essence);
        // Some servers of files know no type of JSON, or only the most general.
        let general = ["application/json", "application/octet-stream", "text/plain", ""];
        let sent = sent_as.map(media_type::essence).filter(|sent| !general.contains(&&**sent));
        if let (Some(found), Some(sent)) = (&found, &sent)
            && found != sent
        {
            let readable = |text: &str| json::excerpt(text, 100).into_owned();
            return Err(ManifestError::Mismatch { found: readable(found), sent: readable(sent) });
        }
        let is_index = match found.or(sent).as_deref() {
            Some(MANIFEST | DOCKER_MANIFEST) => false,
            Some(INDEX | DOCKER_INDEX) => true,
            Some(other) => {
                return Err(ManifestError::MediaType(json::excerpt(other, 100).into_owned()));
            }
            None => outline.manifests.is_some(),
        };
        match is_index {
            true if outline.layers.is_some() => Err(ManifestError::Ambiguous),
            false if outline.manifests.is_some() => Err(ManifestError::Ambiguous),
            true => index(parsed(bytes)?).map(Document::Index),
            false => {
                manifest(parsed(bytes)?).map(|manifest| Document::Manifest(Box::new(manifest)))
            }
        }
    }
}

fn parsed<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, ManifestError> {
    strict::object(bytes, MAX_MANIFEST_BYTES).map_err(ManifestError::Malformed)
}

fn manifest(manifest: Manifest) -> Result<Manifest, ManifestError> {
    limit("layers", manifest.layers.len(), MAX_LAYERS)?;
    let all = manifest.layers.iter().chain([&manifest.config]).chain(&manifest.subject);
    sizes(all)?;
    Ok(manifest)
}

fn index(index: Index) -> Result<Index, ManifestError> {
    limit("manifests", index.manifests.len(), MAX_ENTRIES)?;
    sizes(index.manifests.iter())?;
    Ok(index)
}

fn limit(field: &'static str, count: usize, max: usize) -> Result<(), ManifestError> {
    match count > max {
        true => Err(ManifestError::TooMany { field, count, max }),
        false => Ok(()),
    }
}

fn sizes<'a>(mut all: impl Iterator<Item = &'a Descriptor>) -> Result<(), ManifestError> {
    match all.find(|descriptor| descriptor.size > MAX_SIZE) {
        Some(descriptor) => {
            Err(ManifestError::Malformed(format!("has the size {}", descriptor.size)))
        }
        None => Ok(()),
    }
}

/// Reads `null` as the default, as Go's tools write an empty list.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests;
