//! Manifests and indexes from a registry.

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use tokio::time::timeout;

use super::Client;
use super::endpoint::Endpoint;
use super::exchange::{BodyError, Call, bounded, protocol};
use super::rights::Rights;
use crate::{Digest, MAX_MANIFEST_BYTES, Received, Reference, SourceError};

/// The accepted media types: manifests and indexes of OCI and Docker.
const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json";

/// Fetches a manifest or index, and checks its digest if the reference has one.
pub(super) async fn fetch(
    client: &Client,
    endpoint: Endpoint,
    image: &Reference,
) -> Result<Received, SourceError> {
    let limit = client.shared.settings.timeout.saturating_mul(client.retries(&endpoint) + 2);
    let fetching = timeout(limit, fetch_once(client, &endpoint, image));
    let late = |_| SourceError::TimedOut { registry: endpoint.name.clone(), limit };
    fetching.await.map_err(late)?
}

async fn fetch_once(
    client: &Client,
    endpoint: &Endpoint,
    image: &Reference,
) -> Result<Received, SourceError> {
    let selector = image.selector().ok_or_else(|| SourceError::NoSelector(image.name()))?;
    let repository = image.repository();
    let url = endpoint.url(&format!("/v2/{repository}/manifests/{selector}"));
    let mut call = Call::get(url, Rights::pull(repository), image.to_string());
    call.headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
    let response = client.send(endpoint, &call).await?;
    let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
    let media_type = header(CONTENT_TYPE.as_str());
    let stated = header("docker-content-digest");
    let max = MAX_MANIFEST_BYTES;
    let too_large = |size: u64| SourceError::TooLarge {
        subject: format!("the manifest of {image}"),
        size,
        max: max as u64,
    };
    if let Some(length) = response.content_length().filter(|length| *length > max as u64) {
        return Err(too_large(length));
    }
    let bytes = bounded(response, max).await.map_err(|error| match error {
        BodyError::Failed(error) => client.failure(&endpoint.name, &error),
        BodyError::TooLong(length) => too_large(length as u64),
    })?;
    let digest = Digest::of(&bytes);
    if let Some(expected) = image.digest().filter(|expected| *expected != digest) {
        return Err(SourceError::WrongDigest {
            subject: expected.to_string(),
            found: digest.to_string(),
        });
    }
    // A registry may state a digest of another algorithm.
    match stated {
        Some(text) if text.starts_with("sha256:") && text != digest.to_string() => {
            Err(protocol(endpoint, format!("states another digest of {image} than it sends")))
        }
        _ => Ok(Received { digest, media_type, bytes }),
    }
}
