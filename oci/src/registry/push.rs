//! Uploads to a registry. Mirrors are not used, since only the registry accepts content.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};

use super::Client;
use super::document;
use super::endpoint::{Endpoint, has_same_origin};
use super::exchange::{Call, location, protocol};
use super::rights::Rights;
use crate::artifact::Artifact;
use crate::media_type;
use crate::referrers::{fallback_tag, referrer};
use crate::signature::Bundle;
use crate::source::{Image, SourceError};
use crate::{Descriptor, Digest, Document, Index, Reference};

/// Maximum number of attempts to add a referrer to the index under the tag that stands in for
/// the API. Two writers can overwrite each other's entry.
const MAX_ATTEMPTS: usize = 5;

impl Client {
    /// Uploads an artifact under the tag of the reference, or by its digest alone. Returns the
    /// digest.
    pub async fn push(
        &self,
        image: &Reference,
        artifact: &Artifact,
    ) -> Result<Digest, SourceError> {
        let endpoint = self.origin(image);
        self.push_blob(&endpoint, image, &artifact.component).await?;
        self.push_blob(&endpoint, image, &artifact.config).await?;
        let json = artifact.manifest.to_json();
        let digest = Digest::of(&json);
        let selector = image.tag().map_or_else(|| digest.to_string(), str::to_owned);
        self.put_manifest(&endpoint, image, &selector, media_type::MANIFEST, json).await?;
        Ok(digest)
    }

    /// Attaches a signature to an image, as a referrer. Returns the digest of the referrer.
    /// `created` is the time of the signature (RFC 3339).
    pub async fn attach(
        &self,
        name: &Reference,
        image: &Image,
        bundle: &Bundle,
        created: Option<&str>,
    ) -> Result<Digest, SourceError> {
        let endpoint = self.origin(name);
        self.push_blob(&endpoint, name, b"{}").await?;
        self.push_blob(&endpoint, name, &bundle.json).await?;
        let manifest = referrer(image, bundle, created);
        let json = manifest.to_json();
        let mut entry = Descriptor::of(media_type::MANIFEST, &json);
        entry.artifact_type = manifest.artifact_type.clone();
        entry.annotations = manifest.annotations.clone();
        let selector = entry.digest.to_string();
        let headers =
            self.put_manifest(&endpoint, name, &selector, media_type::MANIFEST, json).await?;
        if !headers.contains_key("oci-subject") {
            self.add_to_fallback(&endpoint, name, &image.pinned, &entry).await?;
        }
        Ok(entry.digest)
    }

    /// Adds an entry to the index under the tag that stands in for the API.
    async fn add_to_fallback(
        &self,
        endpoint: &Endpoint,
        name: &Reference,
        subject: &Digest,
        entry: &Descriptor,
    ) -> Result<(), SourceError> {
        let tag = name.with_tag(&fallback_tag(subject));
        for _ in 0..MAX_ATTEMPTS {
            let mut entries = self.fallback_entries(endpoint, &tag).await?;
            if entries.iter().any(|found| found.digest == entry.digest) {
                return Ok(());
            }
            entries.push(entry.clone());
            let selector = fallback_tag(subject);
            let json = Index::new(entries).to_json();
            self.put_manifest(endpoint, &tag, &selector, media_type::INDEX, json).await?;
        }
        Err(protocol(endpoint, format!("loses entries of the index `{tag}`")))
    }

    async fn fallback_entries(
        &self,
        endpoint: &Endpoint,
        tag: &Reference,
    ) -> Result<Vec<Descriptor>, SourceError> {
        let received = match document::fetch(self, endpoint.clone(), tag).await {
            Ok(received) => received,
            Err(SourceError::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        match received.parse() {
            Ok(Document::Index(index)) => Ok(index.manifests),
            Ok(Document::Manifest(_)) => {
                Err(protocol(endpoint, format!("has an image under the tag of `{tag}`")))
            }
            Err(problem) => Err(SourceError::Manifest { subject: tag.to_string(), problem }),
        }
    }

    async fn put_manifest(
        &self,
        endpoint: &Endpoint,
        image: &Reference,
        selector: &str,
        media_type: &'static str,
        json: Vec<u8>,
    ) -> Result<HeaderMap, SourceError> {
        let digest = Digest::of(&json);
        let url = endpoint.url(&format!("/v2/{}/manifests/{selector}", image.repository()));
        let mut call = upload(image, Method::PUT, url, image.to_string());
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        call.body = json;
        let response = self.send(endpoint, &call).await?;
        let stated = response.headers().get("docker-content-digest");
        match stated.and_then(|value| value.to_str().ok()) {
            Some(stated) if stated.starts_with("sha256:") && stated != digest.to_string() => {
                Err(protocol(endpoint, format!("stores `{image}` with the digest `{stated}`")))
            }
            _ => Ok(response.headers().clone()),
        }
    }

    /// Uploads a blob, unless the registry has it.
    async fn push_blob(
        &self,
        endpoint: &Endpoint,
        image: &Reference,
        content: &[u8],
    ) -> Result<(), SourceError> {
        let digest = Digest::of(content);
        let repository = image.repository();
        let url = endpoint.url(&format!("/v2/{repository}/blobs/{digest}"));
        let mut call = upload(image, Method::HEAD, url, digest.to_string());
        call.expected = &[404];
        if self.send(endpoint, &call).await?.status().is_success() {
            return Ok(());
        }
        let url = endpoint.url(&format!("/v2/{repository}/blobs/uploads/"));
        let response = self
            .send(endpoint, &upload(image, Method::POST, url.clone(), digest.to_string()))
            .await?;
        let mut location: Url = location(endpoint, &url, response.headers())?;
        // An upload elsewhere would need other credentials.
        if !has_same_origin(&location, &url) {
            return Err(protocol(endpoint, "wants an upload on another server"));
        }
        location.query_pairs_mut().append_pair("digest", &digest.to_string());
        let mut call = upload(image, Method::PUT, location, digest.to_string());
        call.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        call.body = content.to_owned();
        self.send(endpoint, &call).await.map(drop)
    }
}

fn upload(image: &Reference, method: Method, url: Url, subject: String) -> Call {
    let rights = Rights::push(image.repository());
    Call { method, ..Call::get(url, rights, subject) }
}
